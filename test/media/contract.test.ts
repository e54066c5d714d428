// What a medium is, and how long it really takes, must not show: same bytes, same errors, same virtual times,
// same trace.

import { Random } from '../../src/kernel/random.ts';
import type { DiskOptions, Fault } from '../../src/machine/index.ts';
import { type AsyncMedium, asyncMedium, overlay, ramMedium, type SyncMedium } from '../../src/media/index.ts';
import { assert, suite } from '../run/suite.ts';
import { contentOf, pattern, turn } from './help.ts';
import { type End, KINDS, type Kind, Rig, type Work } from './rig.ts';

const test = suite('media: contract');

const BYTES = 256 * 1024;

/** The same content behind media of all sorts; `ram` is where it can be looked at. */
type Make = (ram: SyncMedium) => DiskOptions;

const timers = (medium: SyncMedium, seed: number): AsyncMedium => {
  const random = new Random(seed);
  return asyncMedium(medium, {
    delay: () =>
      new Promise((resolve) => {
        setTimeout(resolve, random.below(3));
      }),
  });
};

/** The later it was asked for, the sooner it answers, as far as nobody waits for it. */
function backwards(medium: SyncMedium): AsyncMedium {
  const waiting: (() => void)[] = [];
  return asyncMedium(medium, {
    delay: async () => {
      const mine = new Promise<void>((resolve) => {
        waiting.push(resolve);
      });
      for (let i = 0; i < 3; i++) await turn();
      waiting.pop()?.();
      await mine;
    },
  });
}

const MAKES: Record<string, Make> = {
  'a synchronous medium': (medium) => ({ medium }),
  'an asynchronous medium that answers at once': (ram) => ({ medium: asyncMedium(ram) }),
  'an asynchronous medium that takes milliseconds': (ram) => ({ medium: timers(ram, 1) }),
  'an asynchronous medium that takes others': (ram) => ({ medium: timers(ram, 2) }),
  'an asynchronous medium that answers backwards': (ram) => ({ medium: backwards(ram) }),
  'an overlay': (ram) => {
    const over = overlay(ramMedium(ram.bytes));
    over.writev(0, [pattern(ram.bytes, 77)]);
    return { medium: over };
  },
};

interface Outcome {
  readonly ends: End[];
  readonly trace: string[];
  readonly content: Uint8Array;
  readonly counters: object;
  readonly findings: number;
}

type Fault0 = Omit<Fault, 'disk'>;

/** Batches of reads, writes and discards that overlap. */
function batches(seed: number, sectors: number, sectorBytes: number): Work[][] {
  const random = new Random(seed);
  const most = Math.min(24, 24576 / sectorBytes);
  return Array.from({ length: 8 }, () => {
    const around = random.below(sectors - 2 * most);
    return Array.from({ length: 1 + random.below(14) }, (): Work => {
      const lba = around + random.below(most);
      const count = 1 + random.below(most);
      if (random.chance(0.08)) return { op: 'flush' };
      if (random.chance(0.08)) return { op: 'discard', lba, sectors: count };
      if (random.chance(0.5)) return { op: 'read', lba, sectors: count };
      return { op: 'write', lba, sectors: count, data: pattern(count * sectorBytes, random.next()) };
    });
  });
}

async function play(
  kind: Kind,
  seed: number,
  sectorBytes: 512 | 4096,
  faults: readonly Fault0[],
  make: Make | null,
): Promise<Outcome> {
  const ram = ramMedium(BYTES);
  ram.writev(0, [pattern(BYTES, 77)]);
  const options: DiskOptions = make === null ? { bytes: BYTES } : make(ram);
  const rig = await Rig.create(kind, { ...options, sectorBytes });
  if (make === null) rig.disk.write(0, pattern(BYTES, 77));
  for (const fault of faults) rig.machine.addFault({ ...fault, disk: rig.disk });
  const ends: End[] = [];
  for (const works of batches(seed, BYTES / sectorBytes, sectorBytes))
    ends.push(...(await rig.run(...works)));
  await rig.machine.idleMedia();
  const { medium } = options;
  const content = medium === undefined ? rig.disk.read(0, BYTES) : await contentOf(medium);
  assert.is(rig.machine.pendingMedia, 0);
  return {
    ends,
    trace: rig.trace,
    content,
    counters: { ...rig.disk.counters, ...rig.controller.counters },
    findings: rig.machine.guard.findings().length,
  };
}

function same(seen: Outcome, expected: Outcome, what: string): void {
  const at = seen.trace.findIndex((line, i) => line !== expected.trace[i]);
  assert.is(seen.trace[at], expected.trace[at], `${what}: event ${at}`);
  assert.is(seen.trace.length, expected.trace.length, what);
  for (const [i, end] of seen.ends.entries()) {
    const { data, ...rest } = end;
    const { data: expectedData, ...expectedRest } = expected.ends[i] as End;
    assert.equal(rest, expectedRest, `${what}: command ${i}`);
    assert.is(Buffer.compare(data, expectedData), 0, `${what}: data of command ${i}`);
  }
  assert.is(Buffer.compare(seen.content, expected.content), 0, `${what}: content`);
  assert.equal(seen.counters, expected.counters, what);
  assert.is(seen.findings, expected.findings, what);
}

const FAULTS: Record<string, readonly Fault0[]> = {
  'without faults': [],
  'with faults': [
    { kind: 'error', operations: ['read'], skip: 9, times: 2 },
    { kind: 'error', operations: ['write'], skip: 4, times: 2 },
    { kind: 'torn', argument: 700, skip: 20, times: 3 },
    { kind: 'delay', argument: 70_000, operations: ['read', 'write', 'flush', 'discard'], skip: 3, times: 9 },
    { kind: 'error', operations: ['flush'], skip: 1, times: 1 },
    { kind: 'error', operations: ['discard'], skip: 1, times: 1 },
  ],
};

for (const kind of KINDS) {
  for (const sectorBytes of [512, 4096] as const) {
    for (const [how, faults] of Object.entries(FAULTS)) {
      test(`${kind}, ${sectorBytes}-byte sectors, ${how}: every medium gives the same trace`, async () => {
        for (const seed of [1, 2]) {
          const expected = await play(kind, seed, sectorBytes, faults, null);
          const bad = expected.ends.filter(({ status }) => status !== 'ok').length;
          if (how === 'without faults') assert.is(bad, 0);
          else assert.ok(bad >= 4, `${bad} commands failed`);
          for (const [name, make] of Object.entries(MAKES)) {
            same(await play(kind, seed, sectorBytes, faults, make), expected, `seed ${seed}, ${name}`);
          }
        }
      });
    }
  }
}
