// Runs TFLite models in LiteRT's official WebAssembly build: node litert_run.cjs MODULES JOBS [xnnpack|builtin]
// MODULES: folder that holds @litertjs/core; JOBS: a JSON file, [{model, input, output}]. input: inputs back to back, raw;
// output: gets the outputs of each, in the order of the graph's, back to back; or OUTPUT.error what went wrong.
const fs = require('fs');
const path = require('path');
const [modules, jobs, kernels = 'xnnpack'] = process.argv.slice(2);
const folder = path.join(modules, '@litertjs/core/wasm');
const build = 'litert_wasm_compat_internal';

const say = [];
async function load() {
  globalThis.self = globalThis;
  const script = path.join(folder, `${build}.js`);
  const wrapped = new Function('require', '__filename', '__dirname', `${fs.readFileSync(script, 'utf8')}\n;return ModuleFactory;`);
  const module = await wrapped(require, script, folder)({
    wasmBinary: fs.readFileSync(path.join(folder, `${build}.wasm`)),
    print: (line) => say.push(line),
    printErr: (line) => say.push(line),
  });
  if (module.setupLogging) module.setupLogging();
  if (kernels === 'builtin') {
    // LiteRT has an option kernel_mode (2: its built-in kernels) that the binding does not offer, and writes another of as
    // many letters: the text of that one, in memory, becomes this one.
    const memory = Buffer.from(module.HEAPU8.buffer, module.HEAPU8.byteOffset, module.HEAPU8.length);
    const place = memory.indexOf('num_threads = %d\n');
    if (place < 0) throw Error('the text of the option num_threads is not in this build');
    module.HEAPU8.set(Buffer.from('kernel_mode'), place);
  }
  return module;
}

async function run(module, environment, job) {
  const bytes = fs.readFileSync(job.model);
  const place = module._malloc(bytes.length);
  module.HEAPU8.set(bytes, place);
  const model = module.loadModel(environment, place, bytes.length);
  const compiled = await module.compileModel(environment, model, {
    environment, accelerator: 'wasm', cpuOptions: { numThreads: kernels === 'builtin' ? 2 : 1 },
  });
  const type = model.getInputTensorType(0, 0);
  const size = type.bytes();
  const data = fs.readFileSync(job.input);
  const outputs = [];
  for (let at = 0; at + size <= data.length; at += size) {
    const buffer = module.LiteRtTensorBuffer.createManaged(
      environment, module.LiteRtTensorBufferType.HOST_MEMORY, type, size);
    const to = buffer.lock(module.LiteRtTensorBufferLockMode.WRITE);
    module.HEAPU8.set(data.subarray(at, at + size), to);
    buffer.unlock();
    for (const output of await compiled.run(0, [buffer])) {
      const from = output.lock(module.LiteRtTensorBufferLockMode.READ);
      outputs.push(Buffer.from(module.HEAPU8.slice(from, from + output.packedSize())));
      output.unlock();
      output.delete();
    }
    buffer.delete();
  }
  // A graph that could not be prepared runs all the same, and gives what lay in memory.
  if (say.some((line) => line.startsWith('ERROR'))) throw Error('refused');
  fs.writeFileSync(job.output, Buffer.concat(outputs));
  compiled.delete();
  model.delete();
  module._free(place);
}

(async () => {
  let module = await load();
  let environment = module.LiteRtEnvironment.create(null);
  for (const job of JSON.parse(fs.readFileSync(jobs))) {
    say.length = 0;
    try {
      await run(module, environment, job);
    } catch (error) {
      fs.writeFileSync(`${job.output}.error`, [String(error.message || error), ...say].join('\n'));
      module = await load();  // an exception from WebAssembly leaves its memory as it happened to be
      environment = module.LiteRtEnvironment.create(null);
    }
  }
  process.exit(0);
})().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
