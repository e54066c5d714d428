// Whatever a medium is made of, its content is that of a plain array to which the same was done.

import { join } from 'node:path';
import { Random } from '../../src/kernel/random.ts';
import {
  type AsyncMedium,
  asyncMedium,
  fromPromises,
  type Medium,
  MediumError,
  openFile,
  overlay,
  ramMedium,
  type SyncMedium,
} from '../../src/media/index.ts';
import { assert, suite } from '../run/suite.ts';
import { altered, contentOf, pattern, scratchFolder, turn } from './help.ts';

const test = suite('media: content');
const folder = scratchFolder();
const BYTES = 200 * 1024 + 512;

interface Case {
  readonly medium: Medium;
  /** What must not change. */
  readonly base?: Medium;
}

async function file(name: string): Promise<SyncMedium> {
  return openFile(join(folder, `${name}.img`), { create: BYTES });
}

function filled<M extends SyncMedium>(medium: M, seed: number): M {
  medium.writev(0, [pattern(medium.bytes, seed)]);
  return medium;
}

/** Answers in an order of its own. */
function slow(medium: SyncMedium): AsyncMedium {
  let asked = 0;
  return asyncMedium(medium, {
    delay: async () => {
      for (let i = (asked++ * 7) % 4; i > 0; i--) await turn();
    },
  });
}

function plain(medium: SyncMedium): AsyncMedium {
  return fromPromises({
    name: 'promises',
    bytes: medium.bytes,
    read: async (offset, buffer) => medium.readv(offset, [buffer]),
    write: async (offset, buffer) => medium.writev(offset, [buffer]),
  });
}

const cases: Record<string, (seed: number) => Promise<Case>> = {
  file: async (seed) => ({ medium: await file(`plain-${seed}`) }),
  RAM: async () => ({ medium: ramMedium(BYTES) }),
  'an overlay over a file': async (seed) => {
    const base = filled(await file(`base-${seed}`), seed);
    return { base, medium: overlay(base, { chunkBytes: 4096 }) };
  },
  'an overlay over RAM': async (seed) => {
    const base = filled(ramMedium(BYTES), seed);
    return { base, medium: overlay(base, { chunkBytes: 65536 }) };
  },
  'an overlay over an overlay': async (seed) => {
    const base = overlay(filled(ramMedium(BYTES), seed), { chunkBytes: 4096 });
    base.writev(4000, [pattern(70_000, seed + 1)]);
    return { base, medium: overlay(base) };
  },
  'a slow overlay over a slow file': async (seed) => {
    const base = slow(filled(await file(`slow-${seed}`), seed));
    return { base, medium: overlay(base) };
  },
  'a medium of promises': async () => ({ medium: plain(ramMedium(BYTES)) }),
};

/** The bytes in up to five buffers, some of them empty. */
function split(random: Random, bytes: Uint8Array): Uint8Array[] {
  const views = [];
  let at = 0;
  for (let i = random.below(5); i > 0 && at < bytes.length; i--) {
    const n = random.below(bytes.length - at);
    views.push(bytes.subarray(at, at + n));
    at += n;
  }
  return [...views, bytes.subarray(at)];
}

async function readOf(random: Random, medium: Medium, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length).fill(0xa5);
  const n = medium.sync ? medium.readv(offset, split(random, bytes)) : await medium.read(offset, bytes);
  assert.is(n, length);
  return bytes;
}

async function change(random: Random, medium: Medium, model: Uint8Array): Promise<void> {
  const isLong = random.chance(0.2);
  const offset = random.chance(0.5) ? random.below(BYTES) : 512 * random.below(BYTES / 512);
  const length = Math.min(BYTES - offset, 1 + random.below(isLong ? 150_000 : 9000));
  if (random.chance(0.7)) {
    const bytes = pattern(length, random.next());
    const n = medium.sync ? medium.writev(offset, split(random, bytes)) : await medium.write(offset, bytes);
    assert.is(n, length);
    model.set(bytes, offset);
  } else {
    await medium.discard(offset, length);
    model.fill(0, offset, offset + length);
  }
}

for (const [name, make] of Object.entries(cases)) {
  test(`${name}: equal to an array after any requests`, async () => {
    for (const seed of [1, 2, 3]) {
      const random = new Random(seed);
      const { medium, base } = await make(seed);
      const before = base === undefined ? null : await contentOf(base);
      const model = await contentOf(medium);
      for (let round = 0; round < 150; round++) {
        await change(random, medium, model);
        if (random.chance(0.1)) await medium.flush();
        const offset = random.below(BYTES);
        const length = Math.min(BYTES - offset, random.below(20_000));
        const read = await readOf(random, medium, offset, length);
        assert.is(
          Buffer.compare(read, model.subarray(offset, offset + length)),
          0,
          `seed ${seed}, round ${round}`,
        );
      }
      assert.is(Buffer.compare(await contentOf(medium), model), 0, `seed ${seed}`);
      if (base !== undefined && before !== null) assert.is(Buffer.compare(await contentOf(base), before), 0);
      await medium.close();
    }
  });
}

test('requests to an asynchronous overlay may be in flight together', async () => {
  const medium = overlay(slow(filled(ramMedium(BYTES), 9)));
  const model = await contentOf(medium);
  // All in one chunk, and none of it whole: each of them has to ask the base first.
  await Promise.all(
    Array.from({ length: 16 }, async (_, i) => {
      const bytes = pattern(500, i);
      model.set(bytes, 512 * i);
      await medium.write(512 * i, bytes);
    }),
  );
  assert.is(Buffer.compare(await contentOf(medium), model), 0);
});

test('an overlay saves its changes, and an equal one takes them', async () => {
  const base = filled(ramMedium(BYTES), 4);
  const medium = overlay(base, { chunkBytes: 4096 });
  const random = new Random(4);
  const model = await contentOf(base);
  for (let i = 0; i < 20; i++) await change(random, medium, model);
  const saved = medium.save();
  const other = overlay(base, { chunkBytes: 4096 });
  other.writev(0, [pattern(100, 1)]);
  other.restore(saved);
  assert.is(Buffer.compare(await contentOf(other), model), 0);
  assert.is(other.changedBytes, medium.changedBytes);
  other.writev(0, [pattern(100, 2)]);
  assert.is(Buffer.compare(await contentOf(medium), model), 0, 'what was restored is a copy');

  const isMismatch = (error: unknown): boolean => error instanceof MediumError && error.reason === 'mismatch';
  assert.throws(() => overlay(base, { chunkBytes: 8192 }).restore(saved), isMismatch);
  assert.throws(() => overlay(ramMedium(4096), { chunkBytes: 4096 }).restore(saved), isMismatch);
  assert.throws(() => other.restore(saved.subarray(0, saved.length - 1)), isMismatch);
  assert.throws(() => other.restore(new Uint8Array(3)), isMismatch);
});

test('a RAM medium saves its content', () => {
  const medium = filled(ramMedium(100_000), 3);
  const other = ramMedium(100_000);
  other.restore(medium.save());
  const read = new Uint8Array(100_000);
  other.readv(0, [read]);
  assert.is(Buffer.compare(read, pattern(100_000, 3)), 0);
});

for (const kind of ['sync', 'async'] as const) {
  test(`commit writes the changes to the base, then there are none (${kind})`, async () => {
    const ram = filled(ramMedium(BYTES), 5);
    const medium = overlay(kind === 'sync' ? ram : slow(ram));
    const random = new Random(5);
    const model = await contentOf(medium);
    for (let i = 0; i < 30; i++) await change(random, medium, model);
    const copy = filled(ramMedium(BYTES), 5);
    if (medium.sync) medium.commit(copy);
    else await medium.commit(asyncMedium(copy));
    assert.is(Buffer.compare(await contentOf(copy), model), 0);
    assert.is(Buffer.compare(await contentOf(ram), pattern(BYTES, 5)), 0);
    assert.ok(medium.changedBytes > 0);
    await medium.commit();
    assert.is(Buffer.compare(await contentOf(ram), model), 0);
    assert.is(medium.changedBytes, 0);
    assert.is(Buffer.compare(await contentOf(medium), model), 0);
  });
}

test('commit keeps the changes when the base refuses them', async () => {
  const ram = filled(ramMedium(BYTES), 6);
  const short = altered(ram, { writev: () => 100 });
  const medium = overlay(short);
  medium.writev(0, [pattern(1000, 7)]);
  assert.throws(() => medium.commit(), /100 of 16384 bytes at 0/);
  assert.is(medium.changedBytes, 16384);
  const readOnly = overlay(altered(ram, { readOnly: true }));
  assert.is(readOnly.readOnly, false);
  assert.throws(() => readOnly.commit(), /read-only/);
  assert.throws(() => medium.commit(ramMedium(512)), /512 bytes/);
});

test('a base that fails is the overlay’s own failure, at its place', async () => {
  const failing = altered(filled(ramMedium(BYTES), 8), {
    readv() {
      throw new MediumError('base: broken', 'no-space', { transferred: 300 });
    },
  });
  const medium = overlay(failing, { chunkBytes: 4096 });
  medium.writev(0, [pattern(4096, 1)]);
  try {
    medium.readv(1096, [new Uint8Array(8192)]);
    assert.unreachable();
  } catch (error) {
    assert.ok(error instanceof MediumError && error.reason === 'no-space');
    if (error instanceof MediumError) assert.is(error.transferred, 3300);
  }
  assert.throws(() => medium.writev(5000, [new Uint8Array(10)]), /broken/);
  assert.is(medium.changedBytes, 4096, 'a write that cannot be completed changes nothing');
  const short = altered(ramMedium(BYTES), { readv: () => 17 });
  assert.is(overlay(short).readv(4096, [new Uint8Array(512)]), 17);
  assert.throws(() => overlay(short).writev(5000, [new Uint8Array(10)]), /nothing can be read/);
});

test('a terabyte costs what is written to it', () => {
  const ram = ramMedium(2 ** 40);
  ram.writev(2 ** 40 - 512, [pattern(512, 1)]);
  ram.writev(2 ** 39, [pattern(512, 2)]);
  assert.is(ram.usedBytes, 2 * 65536);
  const medium = overlay(ram, { chunkBytes: 65536 });
  medium.discard(2 ** 30, 2 ** 40 - 2 ** 30);
  const back = new Uint8Array(512);
  assert.is(medium.readv(2 ** 40 - 512, [back]), 512);
  assert.ok(back.every((byte) => byte === 0));
  assert.is(medium.changedBytes, 2 ** 40 - 2 ** 30);
  assert.ok(medium.save().length < 1000);
  ram.discard(0, 2 ** 40);
  assert.is(ram.usedBytes, 0);
});

test('bad sizes are refused', () => {
  assert.throws(() => ramMedium(0), /0 bytes/);
  assert.throws(() => ramMedium(1.5), /whole number/);
  for (const chunkBytes of [0, 512, 5000, 131072]) {
    assert.throws(() => overlay(ramMedium(4096), { chunkBytes }), /power of two from 4096 to 65536/);
  }
});

test('a medium of promises without a write function is read-only', async () => {
  const medium = fromPromises({
    name: 'web',
    bytes: 512,
    read: async (_offset, buffer) => buffer.fill(7).length,
  });
  assert.is(medium.readOnly, true);
  await medium.write(0, new Uint8Array(512)).then(
    () => assert.unreachable(),
    (error: unknown) => assert.ok(error instanceof MediumError && error.reason === 'read-only'),
  );
  await medium.flush();
  await medium.close();
});
