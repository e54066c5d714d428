// Controller memory buffer and persistent memory region (NVM Express 1.4, 3.1.11 to 3.1.17, 3.1.26 to 3.1.31).

import cmb from '../../firmware/profiles/nvme-cmb.json' with { type: 'json' };
import { assert, suite } from '../run/suite.ts';
import { Board, blocks, DATA, pattern, regs } from './board.ts';

const test = suite('nvme: memory');

const BYTES = 64 * 4096;

function barOf(board: Board, bar: number): number {
  return (board.controller.configRead(0x10 + 4 * bar, 4) & ~15) >>> 0;
}

/** Opens the buffer at its BAR's own address; that address. */
function openBuffer(board: Board, base = barOf(board, regs.NVME_CMB_BAR)): number {
  board.write(regs.NVME_CMBMSC_HIGH, Math.floor(base / 2 ** 32));
  board.write(regs.NVME_CMBMSC, (base | regs.NVME_CMBMSC_CRE | regs.NVME_CMBMSC_CMSE) >>> 0);
  return base;
}

function put(board: Board, bar: number, at: number, bytes: Uint8Array): void {
  bytes.forEach((byte, i) => {
    board.controller.write8(bar, at + i, byte);
  });
}

function get(board: Board, bar: number, at: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => board.controller.read8(bar, at + i));
}

function uses(bits: number): object {
  return { ...cmb, parameters: { ...cmb.parameters, cmbUses: bits } };
}

test('a controller without them has neither bits nor registers', async () => {
  const board = await Board.create();
  assert.is(board.read(regs.NVME_CAP_HIGH) & (regs.NVME_CAP_CMBS | regs.NVME_CAP_PMRS), 0);
  for (const at of [regs.NVME_CMBMSC, regs.NVME_PMRCTL, regs.NVME_PMRMSCL]) {
    board.write(at, 0xffffffff);
    assert.is(board.read(at), 0);
  }
});

test('CMBLOC and CMBSZ are zero until CMBMSC.CRE', async () => {
  const board = await Board.create({ profile: 'nvme-cmb', cold: true });
  assert.ok((board.read(regs.NVME_CAP_HIGH) & regs.NVME_CAP_CMBS) !== 0);
  assert.equal([board.read(regs.NVME_CMBLOC), board.read(regs.NVME_CMBSZ)], [0, 0]);
  put(board, regs.NVME_CMB_BAR, 0, Uint8Array.of(1));
  board.write(regs.NVME_CMBMSC, regs.NVME_CMBMSC_CRE);
  assert.is(board.read(regs.NVME_CMBLOC) & 7, regs.NVME_CMB_BAR);
  assert.is(board.read(regs.NVME_CMBSZ), (64 << regs.NVME_CMBSZ_SZ_SHIFT) | 0x1f);
  // The BAR itself was there all the time.
  assert.is(board.controller.read8(regs.NVME_CMB_BAR, 0), 1);
});

test('queues, lists, SGLs and data of commands may be in the buffer', async () => {
  const board = await Board.create({ profile: 'nvme-cmb', flavour: 'debug' });
  const base = openBuffer(board);
  const bytes = pattern(3 * 4096, 1);
  board.disk.write(0, bytes);
  // Data, then the list that names it.
  assert.is(board.io(blocks(regs.NVME_READ, 0, 16, base, base + 4096)).status, 0);
  assert.equal(get(board, regs.NVME_CMB_BAR, 0, 8192), bytes.subarray(0, 8192));
  board.controller.write32(regs.NVME_CMB_BAR, 0x8000, DATA + 0x3000);
  board.controller.write32(regs.NVME_CMB_BAR, 0x8004, 0);
  board.controller.write32(regs.NVME_CMB_BAR, 0x8008, base + 0x3000);
  board.controller.write32(regs.NVME_CMB_BAR, 0x800c, 0);
  assert.is(board.io(blocks(regs.NVME_READ, 0, 24, DATA, base + 0x8000)).status, 0);
  assert.ok(board.machine.memory.equals(DATA + 0x3000, bytes, 4096, 4096));
  assert.equal(get(board, regs.NVME_CMB_BAR, 0x3000, 4096), bytes.subarray(8192));
  // A segment of one descriptor.
  board.controller.write32(regs.NVME_CMB_BAR, 0x9000, DATA);
  board.controller.write32(regs.NVME_CMB_BAR, 0x9004, 0);
  board.controller.write32(regs.NVME_CMB_BAR, 0x9008, 512);
  board.controller.write32(regs.NVME_CMB_BAR, 0x900c, 0);
  const dwords = { 8: 16, 9: regs.NVME_SGL_LAST_SEGMENT << 24, 10: 0, 12: 0 };
  assert.is(board.io({ opcode: regs.NVME_READ, flags: 0x40, prp1: base + 0x9000, dwords }).status, 0);
  assert.ok(board.machine.memory.equals(DATA, bytes, 0, 512));
  // Both queues of a pair.
  const size = 2 | (15 << 16);
  const cq = { opcode: regs.NVME_ADMIN_CREATE_CQ, prp1: base + 0x10000, dwords: { 10: size, 11: 3 } };
  assert.is(board.admin(cq).status, 0);
  const sq = { opcode: regs.NVME_ADMIN_CREATE_SQ, prp1: base + 0x20000, dwords: { 10: size, 11: 0x20001 } };
  assert.is(board.admin(sq).status, 0);
  const entry = new Uint32Array(16);
  entry.set([regs.NVME_READ | (7 << 16), 1]);
  entry[6] = base;
  entry[10] = 2;
  put(board, regs.NVME_CMB_BAR, 0x20000, new Uint8Array(entry.buffer));
  board.write(regs.NVME_DOORBELLS + 16, 1);
  board.machine.settle();
  assert.is(board.controller.read32(regs.NVME_CMB_BAR, 0x1000c), 7 | regs.NVME_CQE_PHASE);
  assert.equal(get(board, regs.NVME_CMB_BAR, 0, 512), bytes.subarray(1024, 1536));
});

for (const [what, bit, run] of [
  [
    'submission queues',
    regs.NVME_CMBSZ_SQS,
    (board: Board, base: number) =>
      board.admin({
        opcode: regs.NVME_ADMIN_CREATE_SQ,
        prp1: base,
        dwords: { 10: 2 | (15 << 16), 11: 0x10001 },
      }),
  ],
  [
    'completion queues',
    regs.NVME_CMBSZ_CQS,
    (board: Board, base: number) =>
      board.admin({ opcode: regs.NVME_ADMIN_CREATE_CQ, prp1: base, dwords: { 10: 2 | (15 << 16), 11: 3 } }),
  ],
  [
    'lists',
    regs.NVME_CMBSZ_LISTS,
    (board: Board, base: number) => board.io(blocks(regs.NVME_READ, 0, 24, DATA, base)),
  ],
  [
    'data of reads',
    regs.NVME_CMBSZ_RDS,
    (board: Board, base: number) => board.io(blocks(regs.NVME_READ, 0, 1, base)),
  ],
  [
    'data of writes',
    regs.NVME_CMBSZ_WDS,
    (board: Board, base: number) => board.io(blocks(regs.NVME_WRITE, 0, 1, base)),
  ],
] as const) {
  test(`where CMBSZ does not claim them, ${what} in the buffer are refused`, async () => {
    const without = await Board.create({ profile: uses(0x1f & ~bit) as never });
    assert.is(run(without, openBuffer(without)).status, regs.NVME_CMB_USE);
    const alone = await Board.create({ profile: uses(bit) as never });
    const base = openBuffer(alone);
    put(alone, regs.NVME_CMB_BAR, 0, Uint8Array.of(0, 0, 0x90, 0, 0, 0, 0, 0, 0, 0, 0xa0));
    assert.is(run(alone, base).status, 0);
  });
}

test('without CMSE a command that names the buffer is refused by the bus', async () => {
  const board = await Board.create({ profile: 'nvme-cmb' });
  const base = barOf(board, regs.NVME_CMB_BAR);
  board.write(regs.NVME_CMBMSC, regs.NVME_CMBMSC_CRE);
  assert.is(board.io(blocks(regs.NVME_READ, 0, 1, base)).status, regs.NVME_DATA_TRANSFER);
});

test('commands find the buffer where CMBMSC.CBA puts it, RAM and the end of addresses refuse it', async () => {
  const board = await Board.create({ profile: 'nvme-cmb' });
  board.disk.write(0, pattern(512, 3));
  openBuffer(board, 0x12_3456_7000);
  assert.is(board.read(regs.NVME_CMBSTS), 0);
  assert.is(board.io(blocks(regs.NVME_READ, 0, 1, 0x12_3456_7000)).status, 0);
  assert.equal(get(board, regs.NVME_CMB_BAR, 0, 512), pattern(512, 3));
  openBuffer(board, DATA - BYTES + 4096);
  assert.is(board.read(regs.NVME_CMBSTS), regs.NVME_CMBSTS_CBAI);
  board.write(regs.NVME_CMBMSC_HIGH, 0xffffffff);
  board.write(regs.NVME_CMBMSC, 0xfffff003);
  assert.is(board.read(regs.NVME_CMBSTS), regs.NVME_CMBSTS_CBAI);
});

test('a controller reset leaves the buffer where it is, any other closes it', async () => {
  const board = await Board.create({ profile: 'nvme-cmb' });
  const base = openBuffer(board);
  put(board, regs.NVME_CMB_BAR, 0, pattern(16, 2));
  board.start();
  assert.is((board.read(regs.NVME_CMBMSC) & ~3) >>> 0, base);
  assert.equal(get(board, regs.NVME_CMB_BAR, 0, 16), pattern(16, 2));
  board.write(regs.NVME_NSSR, regs.NVME_NSSR_VALUE);
  assert.equal([board.read(regs.NVME_CMBMSC), board.read(regs.NVME_CMBSZ)], [0, 0]);
});

test('the persistent region is there while PMRCTL.EN, and takes data alone', async () => {
  const board = await Board.create({ profile: 'nvme-pmr' });
  const base = barOf(board, regs.NVME_PMR_BAR);
  assert.is((board.read(regs.NVME_PMRCAP) >>> regs.NVME_PMRCAP_BIR_SHIFT) & 7, regs.NVME_PMR_BAR);
  assert.is(board.read(regs.NVME_PMRSTS), regs.NVME_PMRSTS_NRDY);
  put(board, regs.NVME_PMR_BAR, 0, pattern(16, 1));
  board.write(regs.NVME_PMRCTL, regs.NVME_PMRCTL_EN);
  // What was written before is not there.
  assert.equal(get(board, regs.NVME_PMR_BAR, 0, 16), new Uint8Array(16));
  assert.is(board.read(regs.NVME_PMRSTS), 0);
  assert.is(board.io(blocks(regs.NVME_READ, 0, 1, base)).status, regs.NVME_DATA_TRANSFER);
  board.write(regs.NVME_PMRMSCL, (base | regs.NVME_PMRMSCL_CMSE) >>> 0);
  put(board, regs.NVME_PMR_BAR, 0, pattern(512, 4));
  assert.is(board.io(blocks(regs.NVME_WRITE, 0, 1, base)).status, 0);
  assert.equal(board.disk.read(0, 512), pattern(512, 4));
  assert.is(board.io(blocks(regs.NVME_READ, 0, 24, DATA, base)).status, regs.NVME_CMB_USE);
});

test('the persistent region keeps its bytes through every reset', async () => {
  const board = await Board.create({ profile: 'nvme-pmr' });
  board.write(regs.NVME_PMRCTL, regs.NVME_PMRCTL_EN);
  put(board, regs.NVME_PMR_BAR, 0, pattern(64, 5));
  board.write(regs.NVME_CC, 0);
  board.machine.settle();
  assert.equal(get(board, regs.NVME_PMR_BAR, 0, 64), pattern(64, 5));
  for (const kind of ['power-on', 'bus', 'function'] as const) {
    board.controller.reset(kind);
    board.controller.enable();
    assert.is(board.read(regs.NVME_PMRCTL), 0);
    board.write(regs.NVME_PMRCTL, regs.NVME_PMRCTL_EN);
    assert.equal(get(board, regs.NVME_PMR_BAR, 0, 64), pattern(64, 5));
  }
});

test('a snapshot has the buffer, its bytes, and where it is', async () => {
  const board = await Board.create({ profile: 'nvme-cmb' });
  const { machine, disk } = board;
  disk.write(0, pattern(512, 6));
  openBuffer(board, 0x12_3456_7000);
  put(board, regs.NVME_CMB_BAR, 1024, pattern(16, 7));
  board.push(1, blocks(regs.NVME_READ, 0, 1, 0x12_3456_7000));
  board.ring(1);
  machine.advance(machine.now() + 1000);
  const saved = machine.save();
  for (let round = 0; round < 2; round++) {
    board.write(regs.NVME_NSSR, regs.NVME_NSSR_VALUE);
    openBuffer(board, 0x22_0000_0000);
    put(board, regs.NVME_CMB_BAR, 0, new Uint8Array(2048).fill(9));
    machine.restore(saved);
    machine.settle();
    assert.equal(get(board, regs.NVME_CMB_BAR, 0, 512), pattern(512, 6));
    assert.equal(get(board, regs.NVME_CMB_BAR, 1024, 16), pattern(16, 7));
  }
});
