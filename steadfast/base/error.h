// The errors Steadfast throws. Messages name the file, line or key, what was found, what was expected,
// and where sensible what to do.
#pragma once

#include <stdexcept>  // runtime_error
#include <string>

namespace steadfast {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The caller asked for something impossible: a bad option, a rate outside [0, 1]. Programs exit with 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

// A file or a value in it is not what it should be.
class InputError : public Error {
 public:
  using Error::Error;
};

// The operating system refused: no such file, disk full.
class IoError : public Error {
 public:
  using Error::Error;
};

// The user interrupted the work (Ctrl-C). What was finished is kept; programs exit with 130.
class InterruptedError : public Error {
 public:
  using Error::Error;
};

}  // namespace steadfast
