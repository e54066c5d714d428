// What is left of a qcow2 image when the power goes, or the host's disk fails, at any moment.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inflateRawSync } from 'node:zlib';
import { Random } from '../../src/kernel/random.ts';
import {
  type Backend,
  bytesBackend,
  formatQcow2,
  type Inflate,
  MediumError,
  qcow2Medium,
  type SyncMedium,
} from '../../src/media/index.ts';
import { assert, suite } from '../run/suite.ts';
import { contentOf, pattern, scratchFolder } from './help.ts';
import { check, Exerciser, needing, qemuImg, same } from './qemu.ts';

const test = suite('media: qcow2 crash');
const qemuTest = needing(test, ['qemu-img'], 'qemu-utils');
const folder = scratchFolder();
const MIB = 2 ** 20;
const inflate: Inflate = (data, bytes) => inflateRawSync(data, { maxOutputLength: bytes });

type Step = 'flush' | { readonly offset: number; readonly bytes: Uint8Array };

/** Records what an image does to its file. */
function recorded(backend: Backend, steps: Step[]): Backend {
  return {
    ...backend,
    writev(offset, buffers) {
      steps.push({ offset, bytes: Buffer.concat(buffers) });
      backend.writev(offset, buffers);
    },
    flush() {
      steps.push('flush');
    },
  };
}

/** What may be in the file after the first `count` steps: what came after the last flush, only in part. */
function remains(start: Uint8Array, steps: readonly Step[], count: number, random: Random): Uint8Array {
  const file = bytesBackend(start);
  const durable = steps.slice(0, count).lastIndexOf('flush');
  const order = random.below(2) === 0; // half of the time the disk took everything up to here
  for (const [i, step] of steps.slice(0, count).entries()) {
    if (step === 'flush') continue;
    if (i < durable || order) file.writev(step.offset, [step.bytes]);
    else {
      for (let at = 0; at < step.bytes.length; at += 512) {
        if (random.below(2) === 0) file.writev(step.offset + at, [step.bytes.subarray(at, at + 512)]);
      }
    }
  }
  return file.bytes();
}

interface Written {
  readonly step: number;
  readonly offset: number;
  readonly length: number;
}

/** A medium that notes when it was told to write where, and what the disk held at each flush. */
function noted(medium: SyncMedium, model: Uint8Array, steps: readonly Step[]) {
  const writes: Written[] = [];
  const flushes = [{ step: 0, content: model.slice() }];
  const watched: SyncMedium = {
    sync: true,
    name: medium.name,
    bytes: medium.bytes,
    readOnly: false,
    readv: (offset, buffers) => medium.readv(offset, buffers),
    writev(offset, buffers) {
      writes.push({
        step: steps.length,
        offset,
        length: buffers.reduce((sum, { length }) => sum + length, 0),
      });
      return medium.writev(offset, buffers);
    },
    discard(offset, length) {
      writes.push({ step: steps.length, offset, length });
      medium.discard(offset, length);
    },
    flush() {
      medium.flush();
      flushes.push({ step: steps.length, content: model.slice() });
    },
    close: () => medium.close(),
  };
  return { watched, writes, flushes };
}

interface Start {
  readonly name: string;
  readonly image: () => Uint8Array;
  readonly model: Uint8Array;
}

function fresh(clusterBytes: number, refcountBits: number, version: 2 | 3 = 3): Start {
  return {
    name: `an empty image, v${version}, clusters of ${clusterBytes}, refcounts of ${refcountBits} bits`,
    image() {
      const backend = bytesBackend();
      formatQcow2(backend, { bytes: MIB, clusterBytes, refcountBits, version });
      return backend.bytes();
    },
    model: new Uint8Array(MIB),
  };
}

const packed = pattern(MIB, 1).map((byte) => byte & 0x11);
const STARTS: Start[] = [
  fresh(512, 64),
  fresh(4096, 16),
  fresh(65536, 1),
  fresh(4096, 16, 2),
  {
    name: 'a compressed image with two snapshots',
    image() {
      const raw = join(folder, 'packed.raw');
      const path = join(folder, 'packed.qcow2');
      writeFileSync(raw, packed);
      qemuImg('convert', '-c', '-O', 'qcow2', '-o', 'cluster_size=4096', '-f', 'raw', raw, path);
      qemuImg('snapshot', '-c', 'one', path);
      qemuImg('snapshot', '-c', 'two', path);
      return new Uint8Array(readFileSync(path));
    },
    model: packed,
  },
];

const POINTS = 40;

for (const [i, start] of STARTS.entries()) {
  qemuTest(`no stop leaves a corruption, or loses what was flushed: ${start.name}`, async () => {
    const image = start.image();
    const steps: Step[] = [];
    const model = start.model.slice();
    const medium = qcow2Medium(recorded(bytesBackend(image), steps), { inflate });
    const { watched, writes, flushes } = noted(medium, model, steps);
    new Exerciser(watched, model, 60 + i, 128 * 1024).run(80);
    medium.close();
    assert.ok(steps.length > POINTS, `${steps.length} steps`);
    const random = new Random(70 + i);
    const path = join(folder, `stopped-${i}.qcow2`);
    for (let point = 0; point < POINTS; point++) {
      const count = Math.floor((steps.length * (point + random.below(100) / 100)) / POINTS) + 1;
      const left = remains(image, steps, count, random);
      writeFileSync(path, left);
      const { corruptions, errors } = check(path);
      assert.equal({ corruptions, errors }, { corruptions: 0, errors: 0 }, `after step ${count}`);
      const flush = flushes.filter(({ step }) => step <= count).at(-1);
      const expected = flush?.content ?? model;
      const again = qcow2Medium(bytesBackend(left, { readOnly: true }), { inflate });
      const found = await contentOf(again);
      for (const { step, offset, length } of writes) {
        if (step < (flush?.step ?? 0) || step > count) continue;
        found.set(expected.subarray(offset, offset + length), offset);
      }
      same(found, expected, `flushed before step ${count}`);
    }
  });
}

qemuTest('a host disk that fails now and then harms nothing but what it failed', async () => {
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const random = new Random(80 + seed);
    const backend = bytesBackend();
    const clusterBytes = seed % 2 === 0 ? 512 : 4096;
    formatQcow2(backend, { bytes: MIB, clusterBytes, refcountBits: 64 });
    let failing = true;
    const fail = (): void => {
      if (failing && random.below(10) === 0) throw new MediumError('test: the disk is full', 'no-space');
    };
    const medium = qcow2Medium({
      ...backend,
      writev(offset, buffers) {
        fail();
        backend.writev(offset, buffers);
      },
      flush: fail,
    });
    const model = new Uint8Array(MIB);
    const unsure = new Uint8Array(MIB);
    for (let i = 0; i < 300; i++) {
      const [offset, length] = [random.below(1900) * 512, (1 + random.below(random.below(148) + 1)) * 512];
      const bytes = pattern(length, i);
      const kind = random.below(8);
      try {
        if (kind === 0) medium.flush();
        else if (kind === 1) medium.discard(offset, length);
        else medium.writev(offset, [bytes]);
        if (kind === 0) continue;
        model.set(kind === 1 ? new Uint8Array(length) : bytes, offset);
        unsure.fill(0, offset, offset + length);
      } catch (error) {
        assert.instance(error, MediumError);
        if (kind !== 0) unsure.fill(1, offset, offset + length);
      }
    }
    failing = false;
    medium.flush();
    const found = await contentOf(medium);
    for (const [i, is] of unsure.entries()) if (is === 1) found[i] = model[i] as number;
    same(found, model, `seed ${seed}`);
    medium.close();
    const path = join(folder, 'failed.qcow2');
    writeFileSync(path, backend.bytes());
    const { corruptions, errors } = check(path);
    assert.equal({ corruptions, errors }, { corruptions: 0, errors: 0 }, `seed ${seed}`);
  }
});
