// The event queue: a heap in the arena, which a test can lay out as well as the module.

import {
  AT_EVENT_COUNT,
  AT_EVENT_OWN,
  AT_EVENT_SEQUENCE,
  AT_EVENTS,
  EVENT_MAX,
  EVENT_STRIDE,
  REQUEST_MAX,
} from '../../assembly/bus/layout.ts';
import { Random } from '../../src/kernel/random.ts';
import { Hba, regs } from '../ahci/hba.ts';
import { Rig } from '../media/rig.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('bus: clock');

/** Code of the event that the AHCI model takes back when a link goes down (assembly/ahci/hba.ts). */
const EVENT_LINK = 1;
const OTHER = 77;

interface Entry {
  readonly due: number;
  readonly sequence: number;
  readonly device: number;
  readonly code: number;
  readonly tag: number;
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.due < b.due || (a.due === b.due && a.sequence < b.sequence);
}

function readHeap(u32: Uint32Array): Entry[] {
  return Array.from({ length: u32[AT_EVENT_COUNT >>> 2] as number }, (_, i) => {
    const at = (AT_EVENTS + i * EVENT_STRIDE) >>> 2;
    const [low = 0, high = 0, sequence = 0, device = 0, code = 0, tag = 0] = u32.subarray(at, at + 6);
    return { due: high * 2 ** 32 + low, sequence, device, code, tag };
  });
}

function writeHeap(u32: Uint32Array, heap: readonly Entry[]): void {
  for (const [i, { due, sequence, device, code, tag }] of heap.entries()) {
    const at = (AT_EVENTS + i * EVENT_STRIDE) >>> 2;
    u32.set([due % 2 ** 32, Math.floor(due / 2 ** 32), sequence, device, code, tag], at);
  }
  u32[AT_EVENT_COUNT >>> 2] = heap.length;
  u32[AT_EVENT_OWN >>> 2] = heap.length;
  u32[AT_EVENT_SEQUENCE >>> 2] = heap.length;
}

/** A heap of the entries, built by insertion. */
function heapOf(entries: readonly Entry[]): Entry[] {
  const heap: Entry[] = [];
  for (const entry of entries) {
    let i = heap.length;
    while (i > 0 && isBefore(entry, heap[(i - 1) >>> 1] as Entry)) {
      heap[i] = heap[(i - 1) >>> 1] as Entry;
      i = (i - 1) >>> 1;
    }
    heap[i] = entry;
  }
  return heap;
}

function checkCancel(hba: Hba, heap: readonly Entry[], what: string): void {
  const u32 = new Uint32Array(hba.machine.buffer);
  writeHeap(u32, heap);
  hba.setPx(regs.AHCI_PX_SCTL, regs.AHCI_DET_RESET);
  const left = readHeap(u32);
  const key = (entry: Entry): number => entry.sequence;
  const kept = heap.filter(({ code }) => code !== EVENT_LINK);
  assert.equal(left.map(key).sort(), kept.map(key).sort(), `${what}: what is left`);
  assert.is(u32[AT_EVENT_OWN >>> 2], left.length, what);
  for (let i = 1; i < left.length; i++) {
    assert.not(
      isBefore(left[i] as Entry, left[(i - 1) >>> 1] as Entry),
      `${what}: entry ${i} is before its parent`,
    );
  }
  writeHeap(u32, []);
  hba.setPx(regs.AHCI_PX_SCTL, 0);
  writeHeap(u32, []);
}

test('taking back finds the event that a removal moved up', async () => {
  const hba = await Hba.create();
  const device = hba.controller.offset;
  // Place 3 goes; the last entry (22, to go too) takes its place and rises above 100, where it was looked at.
  const dues = [10, 100, 20, 101, 102, 21, 22];
  const gone = new Set([101, 22]);
  const heap = dues.map((due, sequence) => ({
    due: 1e9 + due,
    sequence,
    device,
    code: gone.has(due) ? EVENT_LINK : OTHER,
    tag: 0,
  }));
  checkCancel(hba, heap, 'by hand');
});

test('taking back leaves a heap of everything else', async () => {
  const hba = await Hba.create();
  const device = hba.controller.offset;
  const random = new Random(7);
  for (let round = 0; round < 400; round++) {
    const share = random.next() / 2 ** 32;
    const entries = Array.from({ length: random.below(60) }, (_, sequence) => ({
      due: 1e10 + random.below(40),
      sequence,
      device,
      code: random.chance(share) ? EVENT_LINK : OTHER,
      tag: 0,
    }));
    checkCancel(hba, heapOf(entries), `round ${round}`);
  }
});

test('media have room in the queue however many events the models have', async () => {
  const hba = await Hba.create();
  const u32 = new Uint32Array(hba.machine.buffer);
  const full = EVENT_MAX - REQUEST_MAX;
  const entries = Array.from({ length: full }, (_, sequence) => ({
    due: 1e15 + sequence,
    sequence,
    device: hba.controller.offset,
    code: OTHER,
    tag: 0,
  }));
  writeHeap(u32, entries);
  hba.disk.write(0, new Uint8Array(512).fill(0x5a));
  hba.prepare(0, { command: 0x25, count: 1 }, [{ address: 0x80000, bytes: 512 }]);
  hba.setPx(regs.AHCI_PX_CI, 1);
  hba.machine.advance(hba.machine.now() + 1_000_000);
  assert.is(hba.px(regs.AHCI_PX_CI), 0);
  assert.is(hba.machine.memory.read8(0x801ff), 0x5a);
  // A model's own event is refused, and the queue stays as it was.
  hba.setPx(regs.AHCI_PX_SCTL, regs.AHCI_DET_RESET);
  hba.setPx(regs.AHCI_PX_SCTL, 0);
  assert.is(u32[AT_EVENT_COUNT >>> 2], full);
  assert.is(u32[AT_EVENT_OWN >>> 2], full);
});

test('events come by time, then in the order in which they were scheduled', async () => {
  const rig = await Rig.create('ahci', { bytes: 65536, latencyNs: 1000, picosecondsPerByte: 0 });
  const { machine, disk } = rig;
  const delays = [500_000, 0, 500_000, 90_000, 0, 90_000, 90_000, 500_000];
  for (const [lba, argument] of delays.entries()) {
    machine.addFault({ disk, kind: 'delay', first: lba, last: lba, argument });
  }
  const seen: number[] = [];
  const commands = rig.submit(delays.map((_, lba) => ({ op: 'read' as const, lba, sectors: 1 })));
  for (const [lba, command] of commands.entries()) {
    const { done } = command;
    command.done = () => {
      done.call(command);
      seen.push(lba);
    };
  }
  while (commands.some(({ end }) => end === null)) rig.step();
  assert.equal(seen, [1, 4, 3, 5, 6, 0, 2, 7]);
  const [slow, fast] = commands.map(({ end }) => end?.time as number) as [number, number];
  assert.is(slow - fast, 500_000);
});
