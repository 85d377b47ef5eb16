// Stands for what reads and writes ONNX files where protobuf is not there: the engine's tests make their models.
#include <cstdlib>

#include "steadfast/model/onnx_reader.h"
#include "steadfast/model/onnx_writer.h"

namespace steadfast::model {

int OnnxReader::RealValue(const OnnxNode&, int) {
  std::abort();
}
int OnnxReader::RealWeights(const OnnxNode&, int) const {
  std::abort();
}
void OnnxReader::PutOutputsLast(const OnnxNode&, int) {
  std::abort();
}
bool OnnxReader::IsMoved(const OnnxNode&, int) const {
  std::abort();
}
Moved OnnxReader::MovedValueAt(const OnnxNode&, int) {
  std::abort();
}
std::vector<float> OnnxReader::Floats(const OnnxNode&, int) const {
  std::abort();
}
void OnnxReader::Start(const OnnxNode&, Operation, std::vector<int>, const std::string&, Axes) {
  std::abort();
}
void OnnxReader::StartWeighted(const OnnxNode&, std::function<Operation(Weighted)>, int, int) {
  std::abort();
}
int OnnxReader::MovedValue(const OnnxNode&) {
  std::abort();
}
void OnnxReader::MoveCodes(const OnnxNode&, Operation) {
  std::abort();
}

std::string OnnxWriter::RealName(int) const {
  std::abort();
}
onnx::NodeProto* OnnxWriter::AddNode(const std::string&, const std::vector<std::string>&, const std::string&) {
  std::abort();
}
void OnnxWriter::AddIntegers(const std::string&, const std::vector<int64_t>&) {
  std::abort();
}
std::string OnnxWriter::AddForEachImage(const std::string&, const std::vector<int64_t>&) {
  std::abort();
}
void OnnxWriter::WriteQuantizeAgain(const Node&, const std::string&) {
  std::abort();
}
void OnnxWriter::SetInt(onnx::NodeProto*, std::string_view, int64_t) {
  std::abort();
}
void OnnxWriter::SetInts(onnx::NodeProto*, std::string_view, const std::vector<int64_t>&) {
  std::abort();
}
void OnnxWriter::SetFloat(onnx::NodeProto*, std::string_view, float) {
  std::abort();
}
void OnnxWriter::SetText(onnx::NodeProto*, std::string_view, const std::string&) {
  std::abort();
}
void OnnxWriter::SetWindow(onnx::NodeProto*, const Window&) {
  std::abort();
}
std::string OnnxWriter::AddReshape(const std::string&, const std::vector<int64_t>&, const std::string&) {
  std::abort();
}
void OnnxWriter::AddFloats(const std::string&, const std::vector<int64_t>&, const std::vector<float>&) {
  std::abort();
}
std::string OnnxWriter::WriteWeights(int) {
  std::abort();
}
void OnnxWriter::WriteSteps(const Node&, std::string, int) {
  std::abort();
}
void OnnxWriter::WriteQuantize(const Node&, std::string) {
  std::abort();
}

void OnnxSource::Fail(const std::string&, const std::string&) const {
  std::abort();
}
const std::string& OnnxNode::type() const {
  std::abort();
}
std::string OnnxNode::name() const {
  std::abort();
}
int OnnxNode::inputs() const {
  std::abort();
}
bool OnnxNode::HasInput(int) const {
  std::abort();
}
int64_t OnnxNode::Int(std::string_view, int64_t) const {
  std::abort();
}
double OnnxNode::Float(std::string_view, double) const {
  std::abort();
}
std::string OnnxNode::Text(std::string_view, const std::string&) const {
  std::abort();
}
int OnnxNode::SmallInt(std::string_view, int64_t) const {
  std::abort();
}
Window OnnxNode::WindowOf(int, int, const ValueShape&) const {
  std::abort();
}
const onnx::AttributeProto* OnnxNode::Find(std::string_view, int) const {
  std::abort();
}

}  // namespace steadfast::model
