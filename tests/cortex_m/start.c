/* What runs before main on a Cortex-M: vectors, data, and a place where a debugger stops. */
#include <stdint.h>

extern uint32_t data_start[], data_end[], data_source[], zero_start[], zero_end[], stack_top[];
int main(void);

void start(void) {
  uint32_t *to = data_start;
  const uint32_t *from = data_source;
  while (to < data_end) *to++ = *from++;
  for (to = zero_start; to < zero_end;) *to++ = 0;
  main();
  for (;;) {
  }
}

/* A page of its own: emulators run a page with a breakpoint one instruction at a time. */
__attribute__((noinline, section(".stop"))) void faulted(void) {
  for (;;) {
  }
}

__attribute__((section(".vectors"), used)) static void (*const vectors[])(void) = {
    (void (*)(void))stack_top, start, faulted, faulted, faulted, faulted, faulted};
