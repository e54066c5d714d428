// What the controller says besides its completions: error log, events, notices, the write cache.

import plain from '../../firmware/profiles/nvme.json' with { type: 'json' };
import { assert, suite } from '../run/suite.ts';
import { Board, blocks, type Completion, DATA, pattern, regs } from './board.ts';

const test = suite('nvme: reports');

function log(board: Board, id: number, bytes = 512, rae = 0, nsid = 0): number {
  const dword10 = ((bytes / 4 - 1) << 16) | id | rae;
  return board.admin({ opcode: regs.NVME_ADMIN_GET_LOG_PAGE, nsid, prp1: DATA, dwords: { 10: dword10 } })
    .status;
}

function setFeature(board: Board, id: number, value: number): Completion {
  return board.admin({ opcode: regs.NVME_ADMIN_SET_FEATURES, dwords: { 10: id, 11: value } });
}

/** Leaves a request for an event; what it was told once `happen` is through. */
function eventOf(board: Board, happen: () => void): number | undefined {
  const cid = board.push(0, { opcode: regs.NVME_ADMIN_ASYNC_EVENT });
  board.ring(0);
  board.machine.settle();
  happen();
  board.machine.settle();
  return board.take(0).find((completion) => completion.cid === cid)?.result;
}

test('a medium error is in the error log with its block, in blocks of the format', async () => {
  for (const [sectorBytes, block] of [
    [512, 19],
    [4096, 19],
  ] as const) {
    const board = await Board.create({ sectorBytes });
    board.machine.addFault({ disk: board.disk, kind: 'error', first: block, last: block });
    const failed = board.io(blocks(regs.NVME_READ, 16, 8, DATA, DATA + 4096 * (sectorBytes === 512 ? 1 : 0)));
    if (sectorBytes === 512) assert.is(failed.status, regs.NVME_READ_ERROR);
    const { memory } = board.machine;
    for (let i = 0; i < 8; i++) memory.write32(0x700000 + 8 * i, DATA + 4096 * i);
    const again = board.io(blocks(regs.NVME_READ, 16, 8, DATA, sectorBytes === 512 ? DATA + 4096 : 0x700000));
    assert.equal([again.status, again.flags], [regs.NVME_READ_ERROR, 0x6000]);
    log(board, regs.NVME_LOG_ERROR, 64);
    const entry = [memory.read16(DATA + 8), memory.read16(DATA + 10), memory.read16(DATA + 12)];
    assert.equal(entry, [1, again.cid, ((again.status | again.flags) << 1) & 0xffff]);
    assert.equal([memory.read32(DATA + 16), memory.read32(DATA + 24)], [block, 1]);
    log(board, regs.NVME_LOG_SMART);
    assert.is(memory.read32(DATA + 160), 2);
  }
});

test('an invalid doorbell has an entry of no queue in the error log', async () => {
  const board = await Board.create();
  const result = eventOf(board, () => board.write(regs.NVME_DOORBELLS + 8, 64));
  assert.is(result, (regs.NVME_LOG_ERROR << 16) | (regs.NVME_EVENT_DOORBELL_VALUE << 8));
  log(board, regs.NVME_LOG_ERROR, 64);
  const { memory } = board.machine;
  assert.equal([memory.read32(DATA), memory.read32(DATA + 8)], [1, 0xffffffff]);
});

test('an event is told once until its log was read without RAE', async () => {
  const board = await Board.create();
  const bad = (): void => board.write(regs.NVME_DOORBELLS + 8, 64);
  assert.is(eventOf(board, bad), 0x010100);
  // The request of the second stays.
  assert.is(eventOf(board, bad), undefined);
  log(board, regs.NVME_LOG_ERROR, 64, regs.NVME_LOG_RAE);
  board.machine.settle();
  assert.equal(board.take(0), []);
  const cid = board.push(0, {
    opcode: regs.NVME_ADMIN_GET_LOG_PAGE,
    prp1: DATA,
    dwords: { 10: (15 << 16) | regs.NVME_LOG_ERROR },
  });
  board.ring(0);
  board.machine.settle();
  const ended = board.take(0);
  assert.is(ended.length, 2);
  assert.is(ended.find((completion) => completion.cid !== cid)?.result, 0x010100);
});

test('the log of changed namespaces keeps them while it is read with RAE', async () => {
  const board = await Board.create({ disks: 2 });
  // What was there when the controller became ready has not changed.
  log(board, regs.NVME_LOG_CHANGED_NAMESPACES, 4096);
  assert.is(board.machine.memory.read32(DATA), 0);
  board.controller.detachDisk(1);
  for (const rae of [regs.NVME_LOG_RAE, regs.NVME_LOG_RAE, 0]) {
    log(board, regs.NVME_LOG_CHANGED_NAMESPACES, 4096, rae);
    assert.is(board.machine.memory.read32(DATA), 2);
  }
  log(board, regs.NVME_LOG_CHANGED_NAMESPACES, 4096);
  assert.is(board.machine.memory.read32(DATA), 0);
});

test('there is one SMART log, and none of a namespace', async () => {
  const board = await Board.create();
  assert.is(log(board, regs.NVME_LOG_SMART, 512, 0, 0xffffffff), 0);
  assert.is(log(board, regs.NVME_LOG_SMART, 512, 0, 1), regs.NVME_INVALID_FIELD);
});

test('firmware that is active at once stays so through a reset, and is a notice where those are on', async () => {
  const board = await Board.create();
  const commit = (dword10: number): number =>
    board.admin({ opcode: regs.NVME_ADMIN_FIRMWARE_COMMIT, dwords: { 10: dword10 } }).status;
  board.machine.memory.writeBytes(DATA, new TextEncoder().encode('BKFW2.0     '));
  board.admin({ opcode: regs.NVME_ADMIN_FIRMWARE_DOWNLOAD, prp1: DATA, dwords: { 10: 2 } });
  setFeature(board, regs.NVME_FEATURE_EVENTS, 0x200);
  const result = eventOf(board, () => {
    board.push(0, { opcode: regs.NVME_ADMIN_FIRMWARE_COMMIT, dwords: { 10: (3 << 3) | 2 } });
    board.ring(0);
  });
  assert.is(result, (regs.NVME_LOG_FIRMWARE << 16) | (regs.NVME_EVENT_FIRMWARE << 8) | 2);
  const revision = (): string => String.fromCharCode(...board.identify(1).subarray(64, 67));
  assert.is(revision(), '2.0');
  board.start();
  assert.is(revision(), '2.0');
  log(board, regs.NVME_LOG_FIRMWARE);
  assert.is(board.machine.memory.read8(DATA), 2);
  assert.is(commit((2 << 3) | 1), 0);
  log(board, regs.NVME_LOG_FIRMWARE);
  assert.is(board.machine.memory.read8(DATA), 0x12);
});

test('while a namespace is formatted its commands fail for now, without Do Not Retry', async () => {
  const board = await Board.create();
  board.push(0, { opcode: regs.NVME_ADMIN_FORMAT, nsid: 1 });
  board.ring(0);
  board.machine.advance(board.machine.now() + 100);
  board.push(1, blocks(regs.NVME_READ, 0, 1, DATA));
  board.ring(1);
  board.machine.settle();
  const read = board.take(1)[0];
  assert.equal([read?.status, read?.flags], [regs.NVME_FORMAT_IN_PROGRESS, 0x2000]);
});

test('a profile without a write cache claims none, has no feature for it, and writes through', async () => {
  const profile = { ...plain, parameters: { ...plain.parameters, cache: false } };
  const board = await Board.create({ profile });
  assert.is((board.identify(1)[regs.NVME_ID_VWC] as number) & 1, 0);
  assert.is(setFeature(board, regs.NVME_FEATURE_WRITE_CACHE, 1).status, regs.NVME_INVALID_FIELD);
  const get = { opcode: regs.NVME_ADMIN_GET_FEATURES, dwords: { 10: regs.NVME_FEATURE_WRITE_CACHE } };
  assert.is(board.admin(get).status, regs.NVME_INVALID_FIELD);
  const before = board.disk.counters.flushes;
  board.machine.memory.writeBytes(DATA, pattern(512, 1));
  assert.is(board.io(blocks(regs.NVME_WRITE, 0, 1, DATA)).status, 0);
  assert.is(board.disk.counters.flushes - before, 1);
  assert.is(board.io({ opcode: regs.NVME_FLUSH }).status, 0);
});

test('every controller is a subsystem of its own, by its qualified name', async () => {
  const board = await Board.create();
  const nameOf = (one: Board): string =>
    String.fromCharCode(...one.identify(1).subarray(regs.NVME_ID_SUBNQN, regs.NVME_ID_SUBNQN + 256));
  const first = nameOf(board);
  assert.match(first, /^nqn\.\d{4}-\d\d\.[a-z.]+:nvme:BPNVME0*1\0+$/);
  board.controller.attach(board.machine.addDisk({ bytes: 65536, serial: 'another one' }), 0);
  assert.match(nameOf(board), /:nvme:another one\0+$/);
});

test('after a shutdown is complete nothing that was under way touches memory', async () => {
  for (const shutdown of [regs.NVME_CC_SHN_NORMAL, regs.NVME_CC_SHN_ABRUPT]) {
    const board = await Board.create();
    const { machine, disk } = board;
    disk.write(0, pattern(4096, 1));
    machine.addFault({ disk, kind: 'delay', argument: 50_000_000, operations: ['read'], times: 1 });
    machine.memory.fill(DATA, 0x11, 4096);
    board.push(1, blocks(regs.NVME_READ, 0, 8, DATA));
    board.ring(1);
    machine.advance(machine.now() + 1000);
    board.write(regs.NVME_CC, board.read(regs.NVME_CC) | shutdown);
    while ((board.read(regs.NVME_CSTS) & regs.NVME_CSTS_SHST) !== regs.NVME_CSTS_SHST_DONE)
      machine.advance(machine.now() + 10_000);
    const { dmaWrites } = board.controller.counters;
    board.push(1, blocks(regs.NVME_READ, 0, 8, DATA));
    board.ring(1);
    board.write(regs.NVME_DOORBELLS + 8 * 9, 1);
    machine.settle();
    assert.equal([machine.memory.read8(DATA), board.controller.counters.dmaWrites], [0x11, dmaWrites]);
    assert.equal(board.take(1), []);
    board.start();
    assert.is(board.io(blocks(regs.NVME_READ, 0, 8, DATA)).status, 0);
  }
});
