// Disks beyond 2 TiB and RAM beyond 2 GiB: block addresses, byte offsets and places in the module's memory
// that do not fit 31 or 32 bits.

import * as regs from '../../assembly/aha1542/regs.ts';
import * as scsi from '../../assembly/scsi/regs.ts';
import { type Medium, MediumError } from '../../src/media/index.ts';
import { ascOf, Board, DATA, pattern } from '../aha1542/board.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('scsi: large');

const TIB = 2 ** 40;
const GIB = 2 ** 30;

/** A medium of any size that keeps what was written, by the offset of the write. */
class Sparse {
  readonly name = 'sparse';
  readonly readOnly = false;
  readonly sync = true;
  readonly writes = new Map<number, Uint8Array>();
  readonly discards: [offset: number, bytes: number][] = [];
  readonly bytes: number;

  constructor(bytes: number) {
    this.bytes = bytes;
  }

  readv(offset: number, buffers: readonly Uint8Array[]): number {
    const length = buffers.reduce((sum, { length }) => sum + length, 0);
    if (offset < 0 || offset + length > this.bytes) throw new MediumError('beyond the end', 'failed');
    const content = this.writes.get(offset) ?? new Uint8Array(length);
    let from = 0;
    for (const buffer of buffers) {
      buffer.set(content.subarray(from, from + buffer.length));
      from += buffer.length;
    }
    return length;
  }

  writev(offset: number, buffers: readonly Uint8Array[]): number {
    const bytes = Uint8Array.from(buffers.flatMap((buffer) => [...buffer]));
    if (offset < 0 || offset + bytes.length > this.bytes) throw new MediumError('beyond the end', 'failed');
    this.writes.set(offset, bytes);
    return bytes.length;
  }

  flush(): void {}

  discard(offset: number, bytes: number): void {
    this.discards.push([offset, bytes]);
  }

  close(): void {}
}

function be(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** (bytes - 1 - i)) % 256);
}

const cdb16 = (op: number, lba: number, blocks: number): number[] => [
  op,
  0,
  ...be(lba, 8),
  ...be(blocks, 4),
  0,
  0,
];

for (const sectorBytes of [512, 4096] as const) {
  test(`blocks beyond 2^31 and 2^32 of ${sectorBytes} bytes are where they are`, async () => {
    const medium = new Sparse(20 * TIB);
    const board = await Board.create({ disk: { medium: medium satisfies Medium, sectorBytes } });
    const bytes = pattern(2 * sectorBytes, 7);
    const last = (20 * TIB) / sectorBytes - 1;
    for (const lba of [2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32 + 5, last - 1]) {
      const ccb = { dataLength: bytes.length, dataPointer: DATA };
      board.machine.memory.writeBytes(DATA, bytes);
      assert.is(board.execute({ ...ccb, cdb: cdb16(scsi.OP_WRITE_16, lba, 2) }).mail, regs.MBI_SUCCESS);
      assert.equal(medium.writes.get(lba * sectorBytes), bytes, `block ${lba}`);
      board.machine.memory.fill(DATA, 0, bytes.length);
      assert.is(board.execute({ ...ccb, cdb: cdb16(scsi.OP_READ_16, lba, 2) }).mail, regs.MBI_SUCCESS);
      assert.ok(board.machine.memory.equals(DATA, bytes));
    }
    const past = board.execute({ cdb: cdb16(scsi.OP_READ_16, last, 2), dataLength: 512, dataPointer: DATA });
    assert.is(ascOf(past.sense), scsi.ASC_LBA_RANGE);
    const wrapping = board.execute({
      cdb: [scsi.OP_READ_16, 0, ...be(0xffffffff, 4), ...be(0xffffffff, 4), 0, 0, 0, 2, 0, 0],
    });
    assert.is(ascOf(wrapping.sense), scsi.ASC_LBA_RANGE, 'the end of the range wraps');
  });
}

test('READ CAPACITY (10) of a disk beyond 2 TiB points to the longer command', async () => {
  const board = await Board.create({ disk: { medium: new Sparse(20 * TIB) } });
  const { memory } = board.machine;
  board.execute({
    cdb: [scsi.OP_READ_CAPACITY_10, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    dataLength: 8,
    dataPointer: DATA,
  });
  assert.equal([...memory.readBytes(DATA, 8)], [0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0]);
  const cdb = [scsi.OP_SERVICE_ACTION_IN_16, scsi.SA_READ_CAPACITY_16, ...be(0, 8), ...be(32, 4), 0, 0];
  board.execute({ cdb, dataLength: 32, dataPointer: DATA });
  assert.equal([...memory.readBytes(DATA, 8)], be((20 * TIB) / 512 - 1, 8));
});

test('UNMAP of 2^32 − 1 blocks reaches the medium in pieces without a gap', async () => {
  const medium = new Sparse(20 * TIB);
  const board = await Board.create({ disk: { medium } });
  const list = [
    ...be(22, 2),
    ...be(16, 2),
    0,
    0,
    0,
    0,
    ...be(2 ** 32 - 100, 8),
    ...be(2 ** 31 + 7, 4),
    0,
    0,
    0,
    0,
  ];
  board.machine.memory.writeBytes(DATA, Uint8Array.from(list));
  const cdb = [scsi.OP_UNMAP, 0, 0, 0, 0, 0, 0, 0, 24, 0];
  assert.is(board.execute({ cdb, dataLength: 24, dataPointer: DATA }).mail, regs.MBI_SUCCESS);
  let next = (2 ** 32 - 100) * 512;
  for (const [offset, bytes] of medium.discards) {
    assert.is(offset, next);
    next += bytes;
  }
  assert.is(next, (2 ** 32 - 100 + 2 ** 31 + 7) * 512);
});

test('more than 2 GiB of RAM: controllers and disks behind it work, and the guard sees them', async () => {
  const board = await Board.create({
    ram: [{ base: 0, bytes: 2.25 * GIB }],
    guard: true,
    diskBytes: 2 ** 20,
  });
  const bytes = pattern(2048, 8);
  board.disk.write(1024, bytes);
  const read = { cdb: [scsi.OP_READ_10, 0, 0, 0, 0, 2, 0, 0, 4, 0], dataLength: 2048, dataPointer: DATA };
  board.machine.guard.clear();
  const handle = board.machine.guard.map(board.controller, DATA, 2048, 'write');
  assert.is(board.execute(read).mail, regs.MBI_SUCCESS);
  assert.ok(board.machine.memory.equals(DATA, bytes));
  assert.ok(board.controller.counters.completions >= 1);
  const about = board.machine.guard
    .findings()
    .filter(({ address }) => address !== null && address >= DATA && address < DATA + 2048);
  assert.equal(about, []);
  board.machine.guard.unmap(handle);
  board.execute(read);
  assert.ok(
    board.machine.guard
      .findings()
      .some(({ rule, address }) => rule === 'dev-after-unmap' && address === DATA),
  );
  const top = 2.25 * GIB - 8;
  board.machine.memory.write32(top, 0xdeadbeef);
  assert.is(board.machine.memory.read32(top), 0xdeadbeef);
});
