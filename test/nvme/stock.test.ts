// What stock software does, step by step: the public device tests, SeaBIOS's polled queues, and the probing, I/O,
// reset and shutdown of Linux's nvme.

import { PCI_MSIX_ENABLE } from '../../assembly/bus/pci-regs.ts';
import plain from '../../firmware/profiles/nvme.json' with { type: 'json' };
import pmr from '../../firmware/profiles/nvme-pmr.json' with { type: 'json' };
import { assert, suite } from '../run/suite.ts';
import { Board, blocks, DATA, pattern, regs } from './board.ts';

const test = suite('nvme: stock software');

const MIB = 2 ** 20;

/** A cold board whose profile says something else. */
async function boardWith(
  profile: typeof plain,
  parameters: Record<string, number | boolean>,
): Promise<Board> {
  const board = await Board.create({
    profile: { ...profile, parameters: { ...profile.parameters, ...parameters } } as never,
    cold: true,
  });
  const { controller } = board;
  controller.configWrite(4, 2, controller.configRead(4, 2) | 7);
  assert.is(controller.configRead(4, 2) & 7, 7);
  return board;
}

/** Finds a BAR's size and puts it at `base`. */
function place(board: Board, bar: number, base: number): number {
  const { controller } = board;
  controller.configWrite(0x10 + 4 * bar, 4, 0xffffffff);
  const size = -(controller.configRead(0x10 + 4 * bar, 4) & ~15);
  controller.configWrite(0x10 + 4 * bar, 4, base);
  controller.configWrite(0x14 + 4 * bar, 4, 0);
  return size;
}

test('device tests: capabilities of 2048 entries and pages of 64 KiB', async () => {
  const board = await boardWith(plain, { entries: 2048 });
  assert.is(place(board, 0, 0xe0000000), 0x4000);
  const { bus } = board.machine;
  assert.is(bus.readMemory(0xe0000000, 4) & 0xffff, 0x7ff);
  assert.is((bus.readMemory(0xe0000004, 4) >>> 20) & 15, 4);
});

test('device tests: a memory buffer that nobody enabled, and accesses across its end', async () => {
  const board = await boardWith(plain, { cmb: 512 });
  const { bus } = board.machine;
  assert.is(place(board, 2, 0xe0200000), 2 * MIB);
  bus.writeMemory(0xe0200000, 4, 0xccbbaa99);
  assert.equal([bus.readMemory(0xe0200000, 1), bus.readMemory(0xe0200000, 2)], [0x99, 0xaa99]);
  const last = 0xe0200000 + 2 * MIB - 1;
  bus.writeMemory(last, 4, 0x44332211);
  assert.is(bus.readMemory(last, 1), 0x11);
  assert.is.not(bus.readMemory(last, 2), 0x2211);
  assert.is.not(bus.readMemory(last, 4), 0x44332211);
});

test('device tests: the persistent region comes and goes with PMRCTL.EN', async () => {
  const board = await boardWith(pmr as never, {});
  const { bus } = board.machine;
  place(board, 4, 0xe0400000);
  place(board, 0, 0xe0000000);
  const see = (): number[] => ([1, 2, 4] as const).map((size) => bus.readMemory(0xe0400000, size));
  bus.writeMemory(0xe0400000, 4, 0xccbbaa99);
  assert.is.not(see()[0], 0x99);
  const claims = bus.readMemory(0xe0000000 + regs.NVME_PMRCAP, 4);
  assert.equal([(claims >>> 3) & 1, (claims >>> 4) & 1, (claims >>> 5) & 7], [1, 1, 4]);
  assert.equal([(claims >>> 10) & 15, (claims >>> 24) & 1], [2, 1]);
  bus.writeMemory(0xe0000000 + regs.NVME_PMRCTL, 4, 1);
  bus.writeMemory(0xe0400000, 4, 0x44332211);
  assert.equal(see(), [0x11, 0x2211, 0x44332211]);
  assert.is((bus.readMemory(0xe0000000 + regs.NVME_PMRSTS, 4) >>> 8) & 1, 0);
  bus.writeMemory(0xe0000000 + regs.NVME_PMRCTL, 4, 0);
  bus.writeMemory(0xe0400000, 4, 0x88776655);
  const [byte, word, dword] = see();
  assert.ok(byte !== 0x55 && word !== 0x6655 && dword !== 0x88776655);
  assert.is((bus.readMemory(0xe0000000 + regs.NVME_PMRSTS, 4) >>> 8) & 1, 1);
});

/** SeaBIOS's queue pair: the command identifier is the slot, and nothing but the completion queue is looked at. */
class Polled {
  #tail = 0;
  #head = 0;
  #phase = 1;

  constructor(
    readonly board: Board,
    readonly id: number,
    readonly sq: number,
    readonly sqEntries: number,
    readonly cq: number,
    readonly cqEntries: number,
  ) {
    board.machine.memory.fill(sq, 0, 64 * sqEntries);
    board.machine.memory.fill(cq, 0, 16 * cqEntries);
  }

  /** Bits 8:1 of the status, which is all that is asked. */
  run(opcode: number, nsid: number, prp1: number, prp2: number, dwords: readonly number[]): number {
    const { machine } = this.board;
    const at = this.sq + 64 * this.#tail;
    machine.memory.fill(at, 0, 64);
    machine.memory.write4x32(at, opcode | (this.#tail << 16), nsid, 0, 0);
    machine.memory.write4x32(at + 16, 0, 0, prp1, 0);
    machine.memory.write4x32(at + 32, prp2, 0, dwords[0] ?? 0, dwords[1] ?? 0);
    machine.memory.write32(at + 48, (dwords[2] ?? 0) >>> 0);
    const cid = this.#tail;
    this.#tail = (this.#tail + 1) % this.sqEntries;
    this.board.write(regs.NVME_DOORBELLS + 8 * this.id, this.#tail);
    machine.settle();
    const entry = this.cq + 16 * this.#head;
    const last = machine.memory.read32(entry + 12);
    assert.is((last >>> 16) & 1, this.#phase);
    assert.is(last & 0xffff, cid);
    this.#head = (this.#head + 1) % this.cqEntries;
    if (this.#head === 0) this.#phase ^= 1;
    this.board.write(regs.NVME_DOORBELLS + 8 * this.id + 4, this.#head);
    return (last >>> 17) & 0xff;
  }
}

test('SeaBIOS: queues of one page, all namespaces asked for, reads through its own list, around the rings', async () => {
  const board = await Board.create({ cold: true, disks: 2 });
  const { memory } = board.machine;
  assert.is((board.read(regs.NVME_CAP_HIGH) >>> 5) & 1, 1);
  board.write(regs.NVME_CC, 0);
  assert.is(board.read(regs.NVME_CSTS) & 1, 0);
  const admin = new Polled(board, 0, 0x100000, 64, 0x110000, 256);
  board.write(regs.NVME_AQA, (255 << 16) | 63);
  board.write(regs.NVME_ASQ, 0x100000);
  board.write(regs.NVME_ASQ_HIGH, 0);
  board.write(regs.NVME_ACQ, 0x110000);
  board.write(regs.NVME_ACQ_HIGH, 0);
  board.write(regs.NVME_CC, 0x460001);
  board.machine.settle();
  assert.is(board.read(regs.NVME_CSTS) & 3, 1);
  assert.is(admin.run(regs.NVME_ADMIN_IDENTIFY, 0, DATA, 0, [1]), 0);
  const count = memory.read32(DATA + regs.NVME_ID_NN);
  assert.equal([count, memory.read8(DATA + regs.NVME_ID_MDTS)], [16, 5]);
  const io = new Polled(board, 1, 0x120000, 256, 0x130000, 256);
  assert.is(admin.run(regs.NVME_ADMIN_CREATE_CQ, 0, 0x130000, 0, [(255 << 16) | 1, 1]), 0);
  assert.is(admin.run(regs.NVME_ADMIN_CREATE_SQ, 0, 0x120000, 0, [(255 << 16) | 1, (1 << 16) | 1]), 0);
  for (let nsid = 1; nsid <= count; nsid++) {
    assert.is(admin.run(regs.NVME_ADMIN_IDENTIFY, nsid, DATA, 0, [0]), 0);
    assert.is(memory.read32(DATA), nsid <= 2 ? 2048 : 0);
  }
  const bytes = pattern(0x10000, 1);
  board.disk.write(0, bytes);
  const list = 0x140000;
  for (let i = 0; i < 15; i++) {
    memory.write32(list + 8 * i, DATA + 4096 * (i + 1));
    memory.write32(list + 8 * i + 4, 0);
  }
  for (const [sectors, prp2] of [
    [1, 0],
    [16, DATA + 4096],
    [128, list],
  ] as const) {
    memory.fill(DATA, 0, 0x10000);
    assert.is(io.run(regs.NVME_READ, 1, DATA, prp2, [0, 0, 0x80000000 | (sectors - 1)]), 0);
    assert.ok(memory.equals(DATA, bytes, 0, 512 * sectors));
  }
  for (let i = 0; i < 600; i++) assert.is(io.run(regs.NVME_WRITE, 2, DATA + 512, 0, [i, 0, 0x80000000]), 0);
  assert.equal(board.disks[1]?.read(599 * 512, 512), bytes.subarray(512, 1024));
  assert.is.not(io.run(regs.NVME_READ, 1, DATA, 0, [4096, 0, 0x80000000]), 0);
});

/** What Linux asks before it makes I/O queues; nsid as it sends it. */
function introduce(board: Board): void {
  const ok = (entry: Parameters<Board['admin']>[0]): number => {
    const { status, result } = board.admin(entry);
    assert.is(status, 0, JSON.stringify(entry));
    return result;
  };
  const identify = regs.NVME_ADMIN_IDENTIFY;
  const set = regs.NVME_ADMIN_SET_FEATURES;
  ok({ opcode: identify, prp1: DATA, dwords: { 10: 1 } });
  const { memory } = board.machine;
  assert.is(memory.read8(DATA + 512), 0x66);
  assert.is(memory.read8(DATA + 513), 0x44);
  const oaes = memory.read32(DATA + 92);
  // Commands and effects.
  ok({
    opcode: regs.NVME_ADMIN_GET_LOG_PAGE,
    nsid: 0xffffffff,
    prp1: DATA,
    dwords: { 10: 5 | (1023 << 16) },
  });
  assert.is(memory.read32(DATA + 4 * identify) & 1, 1);
  assert.is(memory.read32(DATA + 1024 + 4 * regs.NVME_WRITE) & 3, 3);
  // Time, temperature thresholds, SMART.
  memory.write4x32(DATA, 0x6789abcd, 0x193, 0, 0);
  ok({ opcode: set, prp1: DATA, dwords: { 10: 0x0e } });
  ok({ opcode: regs.NVME_ADMIN_GET_LOG_PAGE, nsid: 0xffffffff, prp1: DATA, dwords: { 10: 2 | (127 << 16) } });
  for (const under of [0, 1 << 20])
    ok({ opcode: regs.NVME_ADMIN_GET_FEATURES, dwords: { 10: 4, 11: under } });
  // Queues, then events as far as the controller has them, and requests for them.
  assert.is(ok({ opcode: set, dwords: { 10: 7, 11: 0x00070007 } }), 0x00070007);
  ok({ opcode: set, dwords: { 10: 0x0b, 11: oaes & 0x80000b00 } });
}

function openMessages(board: Board, vectors: number): void {
  const { controller } = board;
  let at = controller.configRead(0x34, 1);
  while (controller.configRead(at, 1) !== 0x11) at = controller.configRead(at + 1, 1);
  assert.is((controller.configRead(at + 2, 2) & 0x7ff) + 1, 9);
  const table = controller.configRead(at + 4, 4);
  controller.configWrite(at + 2, 2, PCI_MSIX_ENABLE | 0x4000);
  for (let i = 0; i < vectors; i++) {
    for (const [field, value] of [
      [0, 0x700000 + 4 * i],
      [4, 0],
      [8, 0x4000 + i],
      [12, 0],
    ] as const)
      controller.write32(table & 7, (table & ~7) + 16 * i + field, value);
  }
  controller.configWrite(at + 2, 2, PCI_MSIX_ENABLE);
}

test('Linux: probe, namespaces, a vector a queue, I/O, reset of the controller, shutdown', async () => {
  const board = await Board.create({ cold: true, disks: 2, queues: 4 });
  const { machine } = board;
  const { memory } = machine;
  for (let round = 0; round < 2; round++) {
    openMessages(board, 9);
    board.enable();
    introduce(board);
    board.push(0, { opcode: regs.NVME_ADMIN_ASYNC_EVENT, cid: 0x7f00 });
    board.ring(0);
    for (let id = 1; id <= 4; id++) board.makeQueue(id, 1024, 0, id);
    assert.equal([...new Uint32Array(board.identify(2).buffer, 0, 3)], [1, 2, 0]);
    for (const nsid of [1, 2]) {
      const descriptors = board.identify(3, nsid);
      assert.equal([descriptors[0], descriptors[1], descriptors[20]], [2, 16, 0]);
      const space = board.identify(0, nsid);
      assert.is(new DataView(space.buffer).getUint32(0, true), 2048);
    }
    board.disk.write(0, pattern(8192, round));
    for (let id = 1; id <= 4; id++) {
      memory.write32(0x700000 + 4 * id, 0);
      assert.is(board.run(id, blocks(regs.NVME_READ, 0, 16, DATA, DATA + 4096)).status, 0);
      assert.ok(memory.equals(DATA, pattern(8192, round)));
      assert.is(memory.read32(0x700000 + 4 * id), 0x4000 + id);
    }
    assert.is(board.run(1, { opcode: regs.NVME_FLUSH, nsid: 1 }).status, 0);
    // Discard of one range, Write Zeroes with deallocation.
    memory.write4x32(DATA, 0, 8, 0, 0);
    const discard = { opcode: regs.NVME_DSM, nsid: 1, prp1: DATA, dwords: { 10: 0, 11: 4 } };
    assert.is(board.run(2, discard).status, 0);
    const zeroes = { opcode: regs.NVME_WRITE_ZEROES, nsid: 1, dwords: { 10: 8, 12: 7 | (1 << 25) } };
    assert.is(board.run(2, zeroes).status, 0);
    assert.ok(board.disk.read(0, 8192).every((byte) => byte === 0));
    // A range beyond the end is an error that is not worth another try.
    assert.is(board.run(3, blocks(regs.NVME_READ, 2047, 2, DATA)).status, 0x80);
    if (round === 0) {
      board.write(regs.NVME_CC, board.read(regs.NVME_CC) & ~regs.NVME_CC_EN);
      machine.settle();
      assert.is(board.read(regs.NVME_CSTS) & regs.NVME_CSTS_RDY, 0);
    }
  }
  // Shutdown: submission queues, completion queues, then CC.SHN.
  for (const opcode of [regs.NVME_ADMIN_DELETE_SQ, regs.NVME_ADMIN_DELETE_CQ])
    for (let id = 4; id > 0; id--) assert.is(board.admin({ opcode, dwords: { 10: id } }).status, 0);
  board.write(regs.NVME_CC, (board.read(regs.NVME_CC) & ~regs.NVME_CC_SHN) | regs.NVME_CC_SHN_NORMAL);
  machine.settle();
  assert.is(board.read(regs.NVME_CSTS) & regs.NVME_CSTS_SHST, regs.NVME_CSTS_SHST_DONE);
});
