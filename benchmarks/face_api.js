// Expressions of @vladmandic/face-api, asked by serve.py, so that nothing but the prediction is timed.
//
// node face_api.js FACES SIDE: FACES is a file of raw uint8 [faces, SIDE, SIDE, 3]. To a line on standard input
// with a number n it answers with a line, the probabilities of the first n faces as JSON. NODE_PATH names the
// folder with the packages.

'use strict';

const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');

const tf = require('@tensorflow/tfjs');
const { setWasmPaths } = require('@tensorflow/tfjs-backend-wasm');
const faceapi = require('@vladmandic/face-api/dist/face-api.node-wasm.js');

function readFaces(file, side) {
  const bytes = fs.readFileSync(file);
  const size = side * side * 3;
  const face = (_, i) => tf.tensor3d(bytes.subarray(i * size, (i + 1) * size), [side, side, 3], 'int32');
  return Array.from({ length: bytes.length / size }, face);
}

async function main(file, side) {
  const binary = require.resolve('@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm');
  setWasmPaths(`${path.dirname(binary)}/`);
  if (!(await tf.setBackend('wasm'))) throw new Error('no WebAssembly'); // else plain JavaScript, 20 times slower
  const net = faceapi.nets.faceExpressionNet;
  const home = path.dirname(require.resolve('@vladmandic/face-api/package.json'));
  await net.loadFromDisk(path.join(home, 'model'));
  const faces = readFaces(file, Number(side));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await net.predictExpressions(faces.slice(0, Number(line)))));
  }
}

main(...process.argv.slice(2));
