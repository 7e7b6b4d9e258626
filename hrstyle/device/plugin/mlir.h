// Stand-ins for the MLIR types that XLA's PJRT headers mention: the plugin
// passes programs as text and never makes an MLIR object itself, and the wheel
// has MLIR's headers without the LLVM headers that they need. OwningOpRef is as
// wide as MLIR's own, a pointer. This file goes by several names, hence no
// #pragma once.
#ifndef HRLAB_MLIR_H_
#define HRLAB_MLIR_H_

namespace mlir {
class DialectRegistry;
class MLIRContext;
class Operation;

class ModuleOp {
 public:
  explicit operator bool() const { return op_ != nullptr; }
  Operation* getOperation() const { return op_; }

 private:
  Operation* op_ = nullptr;
};

template <typename T>
class OwningOpRef {
 public:
  OwningOpRef() = default;
  OwningOpRef(T op) : op_(op) {}
  OwningOpRef(OwningOpRef&& other) : op_(other.release()) {}
  ~OwningOpRef() {}
  T get() const { return op_; }
  T release() {
    T op = op_;
    op_ = T();
    return op;
  }
  explicit operator bool() const { return bool(op_); }

 private:
  T op_;
};
}  // namespace mlir

#endif  // HRLAB_MLIR_H_
