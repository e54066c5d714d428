import { assert, suite } from '../run/suite.ts';
import { Board, blocks, DATA, type Entry, HOLE, pattern, regs } from './board.ts';

const test = suite('nvme: data');

const LIST = 0x700000;

function list(board: Board, at: number, entries: readonly number[]): void {
  for (const [i, entry] of entries.entries()) {
    board.machine.memory.write32(at + 8 * i, entry % 2 ** 32);
    board.machine.memory.write32(at + 8 * i + 4, Math.floor(entry / 2 ** 32));
  }
}

/** Address, bytes, type of each descriptor. */
function descriptors(
  board: Board,
  at: number,
  entries: readonly (readonly [number, number, number])[],
): void {
  for (const [i, [address, bytes, type]] of entries.entries()) {
    list(board, at + 16 * i, [address]);
    board.machine.memory.write32(at + 16 * i + 8, bytes);
    board.machine.memory.write32(at + 16 * i + 12, type << 24);
  }
}

function sgl(opcode: number, count: number, address: number, bytes: number, type: number): Entry {
  return {
    ...blocks(opcode, 0, count, address),
    flags: 0x40,
    dwords: { 8: bytes, 9: type << 24, 10: 0, 12: count - 1 },
  };
}

test('the first PRP may begin inside a page; the second is a page', async () => {
  const board = await Board.create();
  const bytes = pattern(4096, 1);
  board.disk.write(0, bytes);
  assert.is(board.io(blocks(regs.NVME_READ, 0, 8, DATA + 1024, DATA + 0x10000)).status, 0);
  const { memory } = board.machine;
  assert.ok(memory.equals(DATA + 1024, bytes, 0, 3072));
  assert.ok(memory.equals(DATA + 0x10000, bytes, 3072, 1024));
});

test('misaligned PRPs are refused: the first by dwords, others by pages, a list by qwords', async () => {
  const board = await Board.create();
  const offset = (prp1: number, prp2: number, count: number): number =>
    board.io(blocks(regs.NVME_READ, 0, count, prp1, prp2)).status;
  assert.is(offset(DATA + 2, 0, 1), regs.NVME_PRP_OFFSET);
  assert.is(offset(DATA, DATA + 4096 + 512, 16), regs.NVME_PRP_OFFSET);
  assert.is(offset(DATA, LIST + 4, 24), regs.NVME_PRP_OFFSET);
  list(board, LIST, [DATA + 4096, DATA + 8192 + 4]);
  assert.is(offset(DATA, LIST, 24), regs.NVME_PRP_OFFSET);
});

test('a list may begin inside a page, and its last slot chains', async () => {
  const board = await Board.create({ diskBytes: 2 ** 20 });
  const bytes = pattern(131072, 2);
  board.disk.write(0, bytes);
  const pages = Array.from({ length: 31 }, (_, i) => DATA + 0x100000 + 8192 * ((i * 7) % 31));
  // Three slots are left in the first page: two entries and the way on.
  list(board, LIST + 4096 - 24, [pages[0] as number, pages[1] as number, LIST + 0x2000]);
  list(board, LIST + 0x2000, pages.slice(2));
  assert.is(board.io(blocks(regs.NVME_READ, 0, 256, DATA, LIST + 4096 - 24)).status, 0);
  const { memory } = board.machine;
  assert.ok(memory.equals(DATA, bytes, 0, 4096));
  for (const [i, page] of pages.entries()) assert.ok(memory.equals(page, bytes, 4096 * (i + 1), 4096));
  // The way on is a page's start.
  list(board, LIST + 4096 - 8, [LIST + 0x2008]);
  assert.is(board.io(blocks(regs.NVME_READ, 0, 256, DATA, LIST + 4096 - 24)).status, regs.NVME_PRP_OFFSET);
});

test('a list that names itself as the next ends with the data', async () => {
  const board = await Board.create();
  list(
    board,
    LIST,
    Array.from({ length: 511 }, () => DATA),
  );
  list(board, LIST + 4088, [LIST]);
  assert.is(board.io(blocks(regs.NVME_READ, 0, 256, DATA, LIST + 4088)).status, 0);
});

test('contiguous PRPs are one access to memory', async () => {
  const board = await Board.create();
  list(
    board,
    LIST,
    Array.from({ length: 31 }, (_, i) => DATA + 4096 * (i + 1)),
  );
  const before = board.controller.counters;
  assert.is(board.io(blocks(regs.NVME_READ, 0, 256, DATA, LIST)).status, 0);
  const after = board.controller.counters;
  // Data, and the completion.
  assert.is(after.dmaWrites - before.dmaWrites, 2);
  // The entry, once, and the list.
  assert.is(after.dmaReads - before.dmaReads, 2);
});

test('MDTS: a transfer that is longer is refused', async () => {
  for (const [profile, most] of [
    ['nvme', 256],
    ['nvme-mdts1', 16],
  ] as const) {
    const board = await Board.create({ profile });
    list(
      board,
      LIST,
      Array.from({ length: 64 }, (_, i) => DATA + 4096 * (i + 1)),
    );
    const prp2 = most === 16 ? DATA + 4096 : LIST;
    assert.is(board.io(blocks(regs.NVME_READ, 0, most, DATA, prp2)).status, 0);
    assert.is(board.io(blocks(regs.NVME_READ, 0, most + 1, DATA, LIST)).status, regs.NVME_INVALID_FIELD);
  }
});

test('CC.MPS makes pages larger', async () => {
  const board = await Board.create({ cc: 2 << regs.NVME_CC_MPS_SHIFT });
  const bytes = pattern(32768, 4);
  board.disk.write(0, bytes);
  assert.is(board.io(blocks(regs.NVME_READ, 0, 64, DATA, DATA + 0x40000)).status, 0);
  assert.ok(board.machine.memory.equals(DATA, bytes, 0, 16384));
  assert.ok(board.machine.memory.equals(DATA + 0x40000, bytes, 16384, 16384));
  assert.is(board.io(blocks(regs.NVME_READ, 0, 64, DATA, DATA + 0x1000)).status, regs.NVME_PRP_OFFSET);
});

test('memory that is not there is a data transfer error, and a write of it does not reach the medium', async () => {
  const board = await Board.create();
  const bytes = pattern(4096, 5);
  board.disk.write(0, bytes);
  for (const opcode of [regs.NVME_READ, regs.NVME_WRITE, regs.NVME_COMPARE]) {
    assert.is(board.io(blocks(opcode, 0, 8, HOLE)).status, regs.NVME_DATA_TRANSFER);
    assert.is(board.io(blocks(opcode, 0, 24, DATA, HOLE)).status, regs.NVME_DATA_TRANSFER);
  }
  assert.equal(board.disk.read(0, 4096), bytes);
});

test('SGL: one data block, segments, a bit bucket', async () => {
  const board = await Board.create();
  const { memory } = board.machine;
  const bytes = pattern(4096, 6);
  board.disk.write(0, bytes);
  assert.is(board.io(sgl(regs.NVME_READ, 8, DATA + 1, 4096, 0)).status, 0);
  assert.ok(memory.equals(DATA + 1, bytes));
  descriptors(board, LIST, [
    [DATA + 0x10000, 100, 0],
    [0, 412, regs.NVME_SGL_BIT_BUCKET],
    [LIST + 0x1000, 32, regs.NVME_SGL_LAST_SEGMENT],
  ]);
  descriptors(board, LIST + 0x1000, [
    [DATA + 0x20003, 3000, 0],
    [DATA + 0x30000, 584, 0],
  ]);
  assert.is(board.io(sgl(regs.NVME_READ, 8, LIST, 48, regs.NVME_SGL_SEGMENT_TYPE)).status, 0);
  assert.ok(memory.equals(DATA + 0x10000, bytes, 0, 100));
  assert.ok(memory.equals(DATA + 0x20003, bytes, 512, 3000));
  assert.ok(memory.equals(DATA + 0x30000, bytes, 3512, 584));
});

test('SGL: what is wrong is said', async () => {
  const board = await Board.create();
  const status = (address: number, bytes: number, type: number): number =>
    board.io(sgl(regs.NVME_WRITE, 8, address, bytes, type)).status;
  assert.is(status(DATA, 4095, 0), regs.NVME_SGL_LENGTH);
  assert.is(status(DATA, 4096, 0x40), regs.NVME_SGL_TYPE);
  assert.is(status(DATA, 4096, 0x01), regs.NVME_SGL_TYPE);
  assert.is(status(LIST, 24, regs.NVME_SGL_LAST_SEGMENT), regs.NVME_SGL_SEGMENT);
  assert.is(status(LIST, 0, regs.NVME_SGL_LAST_SEGMENT), regs.NVME_SGL_SEGMENT);
  assert.is(status(HOLE, 16, regs.NVME_SGL_LAST_SEGMENT), regs.NVME_DATA_TRANSFER);
  // A segment that only leads to itself.
  descriptors(board, LIST, [[LIST, 16, regs.NVME_SGL_SEGMENT_TYPE]]);
  assert.is(status(LIST, 16, regs.NVME_SGL_SEGMENT_TYPE), regs.NVME_SGL_COUNT);
  // The last segment leads nowhere; another one must.
  assert.is(status(LIST, 16, regs.NVME_SGL_LAST_SEGMENT), regs.NVME_SGL_SEGMENT);
  descriptors(board, LIST, [[DATA, 512, 0]]);
  assert.is(status(LIST, 16, regs.NVME_SGL_SEGMENT_TYPE), regs.NVME_SGL_SEGMENT);
  assert.is(status(LIST, 16, regs.NVME_SGL_LAST_SEGMENT), regs.NVME_SGL_LENGTH);
});

test('a board without SGLs refuses them, and every board does in admin commands', async () => {
  const board = await Board.create({ profile: 'nvme-nosgl' });
  assert.is(board.io(sgl(regs.NVME_READ, 8, DATA, 4096, 0)).status, regs.NVME_INVALID_FIELD);
  assert.is(board.identify(regs.NVME_CNS_CONTROLLER)[regs.NVME_ID_SGLS], 0);
  const identify = { opcode: regs.NVME_ADMIN_IDENTIFY, prp1: DATA, flags: 0x40, dwords: { 10: 1 } };
  assert.is((await Board.create()).admin(identify).status, regs.NVME_INVALID_FIELD);
});
