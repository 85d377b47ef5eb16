// Runs ONNX models through ONNX Runtime, optimizations off: node onnxruntime_run.cjs MODULES JOBS
// MODULES: folder that holds onnxruntime-node; JOBS: a JSON file, [{model, input, type, dims, out}]. input: a raw file of
// uint8 or float32; out: a folder that gets one raw file a graph output, or `error` with what went wrong.
const fs = require('fs');
const path = require('path');
const [modules, jobs] = process.argv.slice(2);
const ort = require(path.join(modules, 'onnxruntime-node'));

(async () => {
  for (const job of JSON.parse(fs.readFileSync(jobs))) {
    try {
      const options = { graphOptimizationLevel: 'disabled', intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3 };
      const session = await ort.InferenceSession.create(job.model, options);
      const bytes = fs.readFileSync(job.input);
      const data = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
      const values = job.type === 'float32' ? new Float32Array(data) : new Uint8Array(data);
      const results = await session.run({ input: new ort.Tensor(job.type, values, job.dims) });
      for (const [name, tensor] of Object.entries(results)) {
        const { buffer, byteOffset, byteLength } = tensor.data;
        fs.writeFileSync(path.join(job.out, name), Buffer.from(buffer, byteOffset, byteLength));
      }
      await session.release();
    } catch (error) {
      fs.writeFileSync(path.join(job.out, 'error'), String(error.message || error));
    }
  }
})().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
