// Runs ONNX models through ONNX Runtime: node onnxruntime_run.cjs MODULES JOBS
// MODULES: folder that holds onnxruntime-node and onnxruntime-web; JOBS: a JSON file, [{model, input, type, dims, out, runtime,
// level}]. input: a raw file of uint8, int8 or float32; runtime: node (default) or web, whose integers are the same on every
// machine; level: of optimization (default: disabled); out: a folder that gets one raw file a graph output, or `error` with what went wrong.
const fs = require('fs');
const path = require('path');
const [modules, jobs] = process.argv.slice(2);
const runtimes = {};
const runtimeOf = (name) => {
  if (!runtimes[name]) runtimes[name] = require(path.join(modules, `onnxruntime-${name}`));
  if (name === 'web') {
    runtimes.web.env.wasm.numThreads = 1;
    runtimes.web.env.logLevel = 'error';
  }
  return runtimes[name];
};
const arrays = { float32: Float32Array, uint8: Uint8Array, int8: Int8Array };

(async () => {
  for (const job of JSON.parse(fs.readFileSync(jobs))) {
    try {
      const ort = runtimeOf(job.runtime || 'node');
      const options = { graphOptimizationLevel: job.level || 'disabled', intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3 };
      if (job.runtime === 'web') options.executionProviders = ['wasm'];
      const model = job.runtime === 'web' ? new Uint8Array(fs.readFileSync(job.model)) : job.model;
      const session = await ort.InferenceSession.create(model, options);
      const bytes = fs.readFileSync(job.input);
      const data = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
      const values = new arrays[job.type](data);
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
