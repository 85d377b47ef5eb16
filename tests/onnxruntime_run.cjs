// Runs an ONNX model through ONNX Runtime: node onnxruntime_run.cjs MODULES MODEL IMAGES SHAPE OUT
// MODULES: folder that holds onnxruntime-node; IMAGES: raw uint8; SHAPE: such as 100x1x28x28; OUT: folder that gets one
// raw file a graph output.
const fs = require('fs');
const path = require('path');
const [modules, model, images, shape, out] = process.argv.slice(2);
const ort = require(path.join(modules, 'onnxruntime-node'));

(async () => {
  const session = await ort.InferenceSession.create(model, { graphOptimizationLevel: 'disabled' });
  const bytes = new Uint8Array(fs.readFileSync(images));
  const results = await session.run({ input: new ort.Tensor('uint8', bytes, shape.split('x').map(Number)) });
  for (const [name, tensor] of Object.entries(results)) {
    const data = tensor.data;
    fs.writeFileSync(path.join(out, name), Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  }
})().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
