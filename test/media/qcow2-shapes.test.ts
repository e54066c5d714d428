// Images of every shape, made by qemu-img and by us: what one writes the other reads.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createQcow2, openImage } from '../../src/media/index.ts';
import { assert, suite } from '../run/suite.ts';
import { contentOf, scratchFolder } from './help.ts';
import {
  CLEAN,
  check,
  content,
  Exerciser,
  nameOf,
  needing,
  optionsOf,
  qemuImg,
  rawOf,
  SHAPES,
  same,
} from './qemu.ts';

const test = suite('media: qcow2 shapes');
const qemuTest = needing(test, ['qemu-img'], 'qemu-utils');
const folder = scratchFolder();
const KIB = 1024;
const MIB = 2 ** 20;

for (const shape of SHAPES) {
  const name = nameOf(shape);
  qemuTest(`an image that qemu-img made takes what is written, as qemu-img sees it: ${name}`, async () => {
    const path = join(folder, `theirs-${name}.qcow2`);
    const bytes = shape.clusterBytes > 65536 ? 16 * MIB : 4 * MIB;
    qemuImg('create', '-f', 'qcow2', '-o', optionsOf(shape), path, String(bytes));
    const model = new Uint8Array(bytes);
    for (let round = 0; round < 2; round++) {
      const medium = await openImage(path);
      assert.is(medium.bytes, bytes);
      new Exerciser(medium, model, shape.clusterBytes + round, 256 * KIB).run(30);
      medium.close();
    }
    assert.equal(check(path), CLEAN);
    same(rawOf(path), model, 'what qemu-img reads');
    const again = await openImage(path, { readOnly: true });
    same(await contentOf(again), model, 'what we read');
    again.close();
  });

  qemuTest(`an image that we made is sound, empty and writable for qemu-img: ${name}`, async () => {
    const path = join(folder, `ours-${name}.qcow2`);
    await createQcow2(path, { bytes: 4 * MIB, ...shape });
    assert.equal(check(path), CLEAN);
    const info = JSON.parse(qemuImg('info', '--output=json', path));
    assert.is(info['virtual-size'], 4 * MIB);
    assert.is(info['cluster-size'], shape.clusterBytes);
    assert.is(info['format-specific'].data.compat, shape.version === 2 ? '0.10' : '1.1');
    if (shape.version === 3) assert.is(info['format-specific'].data['refcount-bits'], shape.refcountBits);
  });
}

for (const shape of SHAPES.filter(({ refcountBits }) => refcountBits === 16)) {
  qemuTest(`what qemu-img compressed is read, and copied where it is written: ${nameOf(shape)}`, async () => {
    const raw = join(folder, 'compress.raw');
    const path = join(folder, `packed-${nameOf(shape)}.qcow2`);
    const model = content(MIB, 7).map((byte) => byte & 0x33);
    writeFileSync(raw, model);
    qemuImg('convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o', optionsOf(shape), raw, path);
    const medium = await openImage(path);
    same(await contentOf(medium), model, 'compressed');
    new Exerciser(medium, model, 8, 128 * KIB).run(50);
    medium.close();
    assert.equal(check(path), CLEAN);
    same(rawOf(path), model, 'what qemu-img reads');
  });
}
