// The workload of a comparison: pure, and what its operations promise.

import {
  BUFFER_PAGES,
  badSectors,
  type Operation,
  READABLE,
  type TransferOperation,
  touched,
  type WorkloadShape,
  WRITABLE,
  workload,
} from '../../src/scenario/workload.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('scenario workload');

const WIDE = {
  sectorBytes: 512,
  sectors: 8192,
  maxRequestBytes: 2 ** 18,
  maxPages: 64,
  longestBytes: 2 ** 18,
  buffers: 3,
};
const SHAPES: readonly WorkloadShape[] = [
  WIDE,
  { ...WIDE, maxRequestBytes: 4096, maxPages: 1 },
  { ...WIDE, maxRequestBytes: 8192, maxPages: 2, buffers: 1 },
  { ...WIDE, sectorBytes: 4096 },
];

function take(count: number, seed: number, shape: WorkloadShape): Operation[] {
  const source = workload(seed, shape);
  return Array.from({ length: count }, () => source.next().value);
}

function transfers(count: number, seed: number, shape: WorkloadShape): TransferOperation[] {
  return take(count, seed, shape).filter((operation) => operation.op !== 'flush');
}

test('a seed gives one workload, and its beginning does not depend on its length', () => {
  for (const shape of SHAPES) {
    assert.equal(take(200, 5, shape), take(900, 5, shape).slice(0, 200));
    assert.not.equal(take(200, 5, shape), take(200, 6, shape));
  }
});

test('requests are of whole sectors, in the process’s buffers, and no larger than the shape allows', () => {
  const longs: number[] = [];
  for (const [seed, shape] of SHAPES.entries()) {
    for (const { sectors, ranges, buffer } of transfers(3000, seed, shape)) {
      const bytes = ranges.reduce((sum, range) => sum + range.bytes, 0);
      assert.is(bytes, sectors * shape.sectorBytes);
      const long = bytes > shape.maxRequestBytes || touched(ranges) > shape.maxPages;
      assert.ok(bytes > 0 && bytes <= Math.max(shape.longestBytes, shape.sectorBytes));
      assert.ok(!long || shape.longestBytes > shape.maxRequestBytes);
      longs[seed] = (longs[seed] ?? 0) + (long ? 1 : 0);
      assert.ok(buffer < shape.buffers);
      for (const range of ranges) {
        assert.ok(range.at >= 0 && range.at + range.bytes <= BUFFER_PAGES * 4096);
        assert.ok(range.bytes > 0);
      }
    }
  }
  assert.is(longs[0], 0);
  assert.ok(
    longs.slice(1).some((count) => count > 100),
    `${longs}`,
  );
});

test('a request that is longer than every kernel takes never has to fail', () => {
  const shape = { ...WIDE, maxRequestBytes: 2 ** 16, maxPages: 16 };
  const bad = badSectors(4, shape);
  const long = transfers(4000, 4, shape).filter(({ sectors }) => sectors * 512 > shape.maxRequestBytes);
  assert.ok(long.length > 100);
  for (const { sector, sectors, ranges, fault } of long) {
    assert.ok(fault === null && sector + sectors <= shape.sectors);
    assert.ok(bad.every(({ first, last }) => last < sector || first >= sector + sectors));
    assert.ok(ranges.every(({ at, bytes }) => at + bytes <= WRITABLE && bytes % 512 === 0));
  }
});

test('the ranges of a read have no byte in common; some of a write’s do', () => {
  const overlaps = ({ ranges }: TransferOperation): boolean =>
    ranges.some((a, i) => ranges.some((b, k) => k < i && a.at < b.at + b.bytes && b.at < a.at + a.bytes));
  const all = transfers(4000, 1, WIDE);
  assert.is(all.filter(({ op }) => op === 'read').filter(overlaps).length, 0);
  assert.ok(all.filter(({ op }) => op === 'write').filter(overlaps).length > 20);
});

test('a request that must fail has one reason', () => {
  for (const [seed, shape] of SHAPES.entries()) {
    const bad = badSectors(seed, shape);
    for (const { op, sector, sectors, ranges, fault } of transfers(4000, seed, shape)) {
      const memory = ranges.some(({ at, bytes }) => at + bytes > (op === 'read' ? WRITABLE : READABLE));
      const medium = bad.some(({ first, last }) => last >= sector && first < sector + sectors);
      const reasons = [memory, medium, sector + sectors > shape.sectors, fault !== null];
      assert.ok(reasons.filter(Boolean).length <= 1, JSON.stringify({ sector, sectors, ranges, reasons }));
      assert.ok(fault === null || (fault >= sector && fault < sector + sectors));
    }
  }
});

test('everything happens: alignments, ranges, faults of each kind, the ends of the disk', () => {
  const all = transfers(3000, 2, WIDE);
  const offsets = new Set(all.flatMap(({ ranges }) => ranges.map(({ at }) => at % 4)));
  assert.is(offsets.size, 4);
  const counts = new Set(all.map(({ ranges }) => ranges.length));
  for (let i = 1; i <= 12; i++) assert.ok(counts.has(i), `${i} ranges`);
  for (const seen of [
    all.some(({ sector }) => sector === 0),
    all.some(({ sector, sectors }) => sector + sectors === WIDE.sectors),
    all.some(({ sector }) => sector >= WIDE.sectors),
    all.some(({ fault }) => fault !== null),
    all.some(({ op, ranges }) => op === 'write' && ranges.some(({ at, bytes }) => at + bytes > READABLE)),
    all.some(({ op, ranges }) => op === 'read' && ranges.some(({ at }) => at >= WRITABLE && at < READABLE)),
    all.some(({ sectors }) => sectors === 512),
    all.some(({ ranges }) => ranges.some(({ bytes }) => bytes % 512 !== 0)),
    all.some(({ through }) => through === 'physio'),
    all.some(({ through }) => through === 'ddi_umem_iosetup'),
  ]) {
    assert.ok(seen);
  }
});
