import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bytesBackend, createQcow2, formatQcow2, openImage, qcow2Medium } from '../../src/media/index.ts';
import { assert, suite } from '../run/suite.ts';
import { contentOf, pattern, scratchFolder } from './help.ts';
import {
  CLEAN,
  check,
  content,
  Exerciser,
  nameOf,
  needing,
  optionsOf,
  qemuImg,
  qemuIo,
  rawOf,
  SHAPES,
  type Shape,
  same,
} from './qemu.ts';

const test = suite('media: qcow2');
const qemuTest = needing(test, ['qemu-img'], 'qemu-utils');
const folder = scratchFolder();
const KIB = 1024;
const MIB = 2 ** 20;

for (const version of [2, 3] as const) {
  qemuTest(`an image of version ${version} over shorter and longer backing files`, async () => {
    const shape: Shape = { version, clusterBytes: 4096, refcountBits: 16 };
    const base = join(folder, `base-${version}.raw`);
    writeFileSync(base, content(MIB + 1536, 9));
    const middle = join(folder, `middle-${version}.qcow2`);
    const top = join(folder, `top-${version}.qcow2`);
    const options = optionsOf(shape);
    qemuImg('create', '-f', 'qcow2', '-o', options, '-b', `base-${version}.raw`, '-F', 'raw', middle, '3M');
    qemuImg('create', '-f', 'qcow2', '-o', options, '-b', middle, '-F', 'qcow2', top, '2M');
    const model = new Uint8Array(3 * MIB);
    model.set(content(MIB + 1536, 9));
    const below = await openImage(middle);
    new Exerciser(below, model, 10, 128 * KIB).run(100);
    below.close();
    const before = readFileSync(middle);
    const seen = model.slice(0, 2 * MIB);
    const medium = await openImage(top);
    same(await contentOf(medium), seen, 'through two images');
    new Exerciser(medium, seen, 11, 128 * KIB).run(200);
    medium.discard(0, medium.bytes / 2);
    seen.fill(0, 0, medium.bytes / 2);
    medium.close();
    assert.equal(check(top), CLEAN);
    same(rawOf(top), seen, 'what qemu-img reads');
    same(readFileSync(middle), before, 'the backing file');
    same(readFileSync(base), content(MIB + 1536, 9), 'the base');
  });
}

qemuTest('what a snapshot holds stays as it was while the disk is written', async () => {
  for (const refcountBits of [2, 16, 64]) {
    const shape: Shape = { version: 3, clusterBytes: 4096, refcountBits };
    const path = join(folder, `snapshots-${refcountBits}.qcow2`);
    await createQcow2(path, { bytes: 4 * MIB, ...shape });
    const model = new Uint8Array(4 * MIB);
    const kept: Uint8Array[] = [];
    for (let round = 0; round < 3; round++) {
      const medium = await openImage(path);
      new Exerciser(medium, model, 20 + round, 256 * KIB).run(80);
      medium.close();
      assert.equal(check(path), CLEAN);
      kept.push(model.slice());
      if (round < 2) qemuImg('snapshot', '-c', `s${round}`, path);
    }
    same(rawOf(path), model, 'the disk');
    for (const [i, was] of kept.slice(0, 2).entries()) same(rawOf(path, '-l', `s${i}`), was, `snapshot ${i}`);
  }
});

qemuTest(
  'qemu-img and we take turns: zero clusters, snapshots that go, bitmaps that become stale',
  async () => {
    const path = join(folder, 'turns.qcow2');
    qemuImg('create', '-f', 'qcow2', '-o', 'cluster_size=4096', path, '4M');
    const model = new Uint8Array(4 * MIB);
    const turn = async (seed: number): Promise<void> => {
      const medium = await openImage(path);
      new Exerciser(medium, model, seed, 256 * KIB).run(60);
      medium.close();
      assert.equal(check(path), CLEAN);
    };
    await turn(1);
    qemuIo(path, 'write -z 64k 300k', 'write -z -u 512k 100k', 'discard 1M 200k', 'write -P 7 2M 70k');
    model
      .fill(0, 64 * KIB, 364 * KIB)
      .fill(0, 512 * KIB, 612 * KIB)
      .fill(0, MIB, MIB + 200 * KIB);
    model.fill(7, 2 * MIB, 2 * MIB + 70 * KIB);
    await turn(2);
    qemuImg('snapshot', '-c', 'gone', path);
    await turn(3);
    qemuImg('snapshot', '-d', 'gone', path);
    assert.equal(check(path), CLEAN);
    await turn(4);
    qemuImg('bitmap', '--add', path, 'changes');
    qemuIo(path, 'write -P 9 3M 64k');
    model.fill(9, 3 * MIB, 3 * MIB + 64 * KIB);
    const medium = await openImage(path);
    medium.writev(0, [pattern(8192, 5)]);
    model.set(pattern(8192, 5));
    medium.close();
    assert.is(check(path).corruptions, 0);
    same(rawOf(path), model, 'what qemu-img reads');
    const info = qemuImg('info', '--output=json', path);
    assert.not.match(info, /"changes"/); // a bitmap that missed a write must not be believed
  },
);

qemuTest('clusters compressed with zstd are refused by name, and others are read', async () => {
  const raw = join(folder, 'zstd.raw');
  const path = join(folder, 'zstd.qcow2');
  writeFileSync(raw, new Uint8Array(MIB).fill(3));
  qemuImg('convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o', 'compression_type=zstd', raw, path);
  const medium = await openImage(path);
  assert.throws(
    () => medium.readv(0, [new Uint8Array(512)]),
    /zstd\.qcow2: byte \d+ \(L2 entry\): it is compressed with zstd, which is not supported/,
  );
  medium.writev(0, [new Uint8Array(65536)]);
  assert.is(medium.readv(0, [new Uint8Array(512)]), 512);
  medium.close();
  assert.equal(check(path), CLEAN);
});

qemuTest('the refcount table grows with what is written', async () => {
  for (const refcountBits of [1, 16, 64]) {
    const path = join(folder, `grow-${refcountBits}.qcow2`);
    await createQcow2(path, { bytes: 6 * MIB, clusterBytes: 512, refcountBits });
    const model = pattern(6 * MIB, 30);
    const medium = await openImage(path);
    for (let at = 0; at < model.length; at += 256 * KIB) {
      medium.writev(at, [model.subarray(at, at + 256 * KIB)]);
      if (at % MIB === 0) medium.flush();
    }
    medium.close();
    assert.equal(check(path), CLEAN);
    same(rawOf(path), model, 'what qemu-img reads');
  }
});

qemuTest('discarded clusters are used again, and preallocated ones where they are', async () => {
  const path = join(folder, 'again.qcow2');
  await createQcow2(path, { bytes: 4 * MIB, clusterBytes: 4096 });
  const medium = await openImage(path);
  for (let i = 0; i < 8; i++) {
    medium.writev(i % 2 === 0 ? 0 : 2 * MIB, [pattern(2 * MIB, i)]);
    medium.flush();
    medium.discard(0, 4 * MIB);
    medium.flush();
  }
  medium.close();
  assert.equal(check(path), CLEAN);
  // Two tables beside 2 MiB: eight times as much would be there without reuse.
  assert.ok(statSync(path).size < 3 * MIB, `${statSync(path).size} bytes`);
  const full = join(folder, 'preallocated.qcow2');
  qemuImg('create', '-f', 'qcow2', '-o', 'preallocation=metadata', full, '4M');
  const before = statSync(full).size;
  const there = await openImage(full);
  there.writev(0, [pattern(4 * MIB, 40)]);
  there.close();
  assert.is(statSync(full).size, before);
  assert.equal(check(full), CLEAN);
  same(rawOf(full), pattern(4 * MIB, 40), 'preallocated');
});

qemuTest('terabytes take what is written, at every end of the disk', async () => {
  const path = join(folder, 'huge.qcow2');
  await createQcow2(path, { bytes: 64 * 2 ** 40 });
  const medium = await openImage(path);
  for (const at of [0, 2 ** 41 - 4096, 2 ** 42 + 512, medium.bytes - 8192]) {
    medium.writev(at, [pattern(8192, at % 97)]);
  }
  medium.discard(2 ** 40, 62 * 2 ** 40);
  medium.flush();
  const back = new Uint8Array(8192);
  medium.readv(medium.bytes - 8192, [back]);
  same(back, pattern(8192, (medium.bytes - 8192) % 97), 'the end');
  medium.readv(2 ** 42 + 512, [back]);
  assert.ok(back.every((byte) => byte === 0));
  medium.close();
  assert.ok(statSync(path).size < 4 * MIB, `${statSync(path).size} bytes`);
  assert.equal(check(path), CLEAN);
});

test('an image in memory keeps what was written when it is opened again', async () => {
  for (const shape of SHAPES) {
    const backend = bytesBackend();
    formatQcow2(backend, { bytes: 2 * MIB, ...shape });
    const model = new Uint8Array(2 * MIB);
    for (let round = 0; round < 2; round++) {
      const medium = qcow2Medium(bytesView(backend));
      new Exerciser(medium, model, 50 + round, 128 * KIB).run(50);
      medium.close();
    }
    const medium = qcow2Medium(backend);
    same(await contentOf(medium), model, nameOf(shape));
  }
});

/** The backend without its end: closing a medium leaves it open. */
function bytesView(backend: ReturnType<typeof bytesBackend>): ReturnType<typeof bytesBackend> {
  return { ...backend, close: () => {} };
}
