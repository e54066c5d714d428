// As snapshot-media.test.ts, with media that answer later: what they were doing is begun again after a restore, and
// what they were asked for before it is void.

import { Random } from '../../src/kernel/random.ts';
import { Snapshot } from '../../src/machine/index.ts';
import { type AsyncMedium, asyncMedium, overlay, ramMedium, type SyncMedium } from '../../src/media/index.ts';
import { altered, Held, turn } from '../media/help.ts';
import { Rig, type Work } from '../media/rig.ts';
import { assert, suite } from '../run/suite.ts';
import { checkRow, patterned, ROWS } from './snapshot-rig.ts';
import { DISK_BYTES, type Variant } from './workload.ts';

const test = suite('snapshot: late media');

const VARIANTS: readonly Variant[] = [
  { name: 'a late medium', faults: false, medium: () => late(ramMedium(DISK_BYTES)) },
  { name: 'overlays of a late medium', faults: true, medium: () => overlay(late(patterned())) },
];

/** A medium that answers at once, or after a while, or after a longer while. */
function late(medium: SyncMedium): AsyncMedium {
  const random = new Random(medium.bytes);
  return asyncMedium(medium, {
    delay: async () => {
      for (let turns = random.below(3); turns > 0; turns--) await turn();
    },
  });
}

for (const [i, row] of ROWS.entries()) {
  for (const [j, variant] of VARIANTS.entries()) {
    test(`SNAP-03 ${row.kind} with ${variant.name}: what it was doing is begun again`, async () => {
      const { asked } = await checkRow(row, variant, 301 + i + 16 * j);
      assert.ok(asked.read > 0 && asked.store > 0);
    });
  }
}

const KIB = 1024;

/** The content of a medium in memory, from `offset` on. */
function bytesAt(medium: SyncMedium, offset: number, length: number): string {
  const bytes = new Uint8Array(length);
  medium.readv(offset, [bytes]);
  return bytes.join();
}

/** Goes on until a medium has to answer. */
function untilAsked(rig: Rig): void {
  for (let i = 0; i < 100; i++) if (!rig.step()) return;
  throw new Error('no medium was asked');
}

const write = (lba: number, byte: number): Work => ({
  op: 'write',
  lba,
  sectors: 1,
  data: new Uint8Array(512).fill(byte),
});

test('SNAP-14 a write that the medium was doing when the past came back changes nothing', async () => {
  const inner = ramMedium(DISK_BYTES);
  inner.writev(0, [Uint8Array.of(7, 7)]);
  const held = new Held(inner);
  const rig = await Rig.create('ahci', { medium: held.medium });
  const snapshot = rig.machine.save();
  rig.submit([write(0, 1), write(8, 2)]);
  untilAsked(rig);
  await turn();
  // One is with the medium, the other waits for its turn.
  assert.equal(
    held.waiting.map(({ operation }) => operation),
    ['write'],
  );
  rig.machine.restore(snapshot);
  await held.drain();
  await rig.machine.idleMedia();
  assert.is(bytesAt(inner, 0, 3), '7,7,0');
  assert.is(bytesAt(inner, 8 * 512, 2), '0,0');
  assert.equal(rig.machine.mediaFailures, []);
});

test('SNAP-15 what waited its turn is never asked for, of a medium that keeps nothing either', async () => {
  const inner = ramMedium(DISK_BYTES);
  const held = new Held(altered(inner, {}));
  const rig = await Rig.create('ahci', { medium: held.medium });
  const snapshot = rig.machine.save();
  rig.submit([write(0, 1), write(8, 2)]);
  untilAsked(rig);
  await turn();
  assert.is(held.waiting.length, 1);
  const doing = held.waiting[0]?.offset ?? -1;
  rig.machine.restore(snapshot);
  await held.drain();
  // What it was doing it did to the end.
  assert.is.not(bytesAt(inner, doing, 2), '0,0');
  assert.is(bytesAt(inner, 8 * 512 - doing, 2), '0,0');
});

test('SNAP-16 an overlay that waits for its base forgets what it was to change', async () => {
  const held = new Held(patterned());
  const medium = overlay(held.medium);
  const rig = await Rig.create('ahci', { medium });
  const snapshot = rig.machine.save();
  // Parts of chunks: their other bytes come from the base.
  rig.submit([write(3, 1)]);
  untilAsked(rig);
  await turn();
  assert.equal(
    held.waiting.map(({ operation }) => operation),
    ['read'],
  );
  rig.machine.restore(snapshot);
  await held.drain();
  assert.is(medium.changedBytes, 0);
});

test('SNAP-17 a read is asked for again, and the answer to the first one is void', async () => {
  const inner = patterned();
  const held = new Held(inner);
  const rig = await Rig.create('ahci', { medium: held.medium });
  const [command] = rig.submit([{ op: 'read', lba: 5, sectors: 2 }]);
  untilAsked(rig);
  await turn();
  const snapshot = rig.machine.save();
  rig.machine.restore(Snapshot.fromBytes(snapshot.toBytes()));
  await turn();
  assert.is(held.waiting.length, 2);
  held.waiting.shift()?.release();
  await turn();
  assert.is(rig.machine.pendingMedia, 1);
  await held.drain();
  assert.is(rig.machine.pendingMedia, 0);
  while (command?.end === null) rig.step();
  assert.is(command?.end?.data.join(), bytesAt(inner, 5 * 512, KIB));
});

test('SNAP-18 a read is not covered with a write that is of the past', async () => {
  const inner = patterned();
  const held = new Held(inner);
  let isPast = false;
  let open = (): void => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const medium: AsyncMedium = {
    ...held.medium,
    // What it was doing then it no longer does, and says that it did.
    content: {
      capture: () => ({ toBytes: () => new Uint8Array(0) }),
      accept: (state) => state,
      revert: () => {
        isPast = true;
      },
    },
    write: async (offset, buffer) => {
      await gate;
      return isPast ? buffer.length : inner.writev(offset, [buffer]);
    },
  };
  const rig = await Rig.create('ahci', { medium, picosecondsPerByte: 10_000 });
  const [command] = rig.submit([{ op: 'read', lba: 0, sectors: 64 }]);
  const snapshot = rig.machine.save();
  // A short one overtakes it.
  rig.start(rig.prepare(write(0, 9), 1));
  untilAsked(rig);
  await turn();
  rig.machine.restore(snapshot);
  open();
  await held.drain();
  while (command?.end === null) if (!rig.step()) await held.drain();
  assert.is(command?.end?.data.subarray(0, 4).join(), bytesAt(inner, 0, 4));
});

test('SNAP-20 what a reset gave up is stored before what came after it', async () => {
  const inner = ramMedium(DISK_BYTES);
  const held = new Held(inner);
  const rig = await Rig.create('ahci', { medium: held.medium });
  rig.submit([write(0, 1)]);
  untilAsked(rig);
  rig.driver.reset();
  const [second] = rig.submit([write(0, 2)]);
  untilAsked(rig);
  const snapshot = rig.machine.save();
  rig.machine.restore(snapshot);
  while (second?.end === null) if (!rig.step()) await held.drain();
  await held.drain();
  assert.is(bytesAt(inner, 0, 2), '2,2');
});
