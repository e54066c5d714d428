import { assert, suite } from '../run/suite.ts';
import { Board, blocks, DATA, pattern, regs } from './board.ts';

const test = suite('nvme: commands');

const text = (data: Uint8Array, at: number, n: number): string =>
  String.fromCharCode(...data.subarray(at, at + n)).trim();
const get32 = (data: Uint8Array, at: number): number =>
  new DataView(data.buffer, data.byteOffset).getUint32(at, true);

test('Identify: controller, namespaces, lists', async () => {
  const board = await Board.create({ disks: 2 });
  const controller = board.identify(regs.NVME_CNS_CONTROLLER);
  assert.equal(
    [text(controller, 4, 20), text(controller, 24, 40), text(controller, 64, 8)],
    ['BPNVME000001', 'BACKPLANE NVME DISK', '1.0'],
  );
  assert.equal(
    [controller[77], controller[512], controller[513], get32(controller, 516)],
    [5, 0x66, 0x44, 16],
  );
  const namespace = board.identify(regs.NVME_CNS_NAMESPACE, 2);
  assert.equal(
    [get32(namespace, 0), namespace[25], namespace[26], namespace[130], namespace[134]],
    [2048, 1, 0, 9, 12],
  );
  assert.ok(board.identify(regs.NVME_CNS_NAMESPACE, 3).every((byte) => byte === 0));
  for (const cns of [regs.NVME_CNS_ACTIVE, regs.NVME_CNS_ALLOCATED]) {
    assert.equal(
      [0, 4, 8].map((at) => get32(board.identify(cns, 0), at)),
      [1, 2, 0],
    );
    assert.equal(
      [0, 4].map((at) => get32(board.identify(cns, 1), at)),
      [2, 0],
    );
  }
  assert.equal([...board.identify(regs.NVME_CNS_DESCRIPTORS, 2).subarray(0, 2)], [2, 16]);
  const status = (cns: number, nsid: number): number =>
    board.admin({ opcode: regs.NVME_ADMIN_IDENTIFY, nsid, prp1: DATA, dwords: { 10: cns } }).status;
  assert.is(status(0, 17), regs.NVME_INVALID_NAMESPACE);
  assert.is(status(2, 0xfffffffe), regs.NVME_INVALID_NAMESPACE);
  assert.is(status(3, 5), regs.NVME_INVALID_NAMESPACE);
  assert.is(status(0x20, 0), regs.NVME_INVALID_FIELD);
});

test('queues: every way to make a bad one is refused', async () => {
  const board = await Board.create({ queues: 2 });
  const cq = (dword10: number, dword11 = 1, prp1 = DATA): number =>
    board.admin({ opcode: regs.NVME_ADMIN_CREATE_CQ, prp1, dwords: { 10: dword10, 11: dword11 } }).status;
  const sq = (dword10: number, dword11 = 0x30001, prp1 = DATA): number =>
    board.admin({ opcode: regs.NVME_ADMIN_CREATE_SQ, prp1, dwords: { 10: dword10, 11: dword11 } }).status;
  assert.is(cq(0x0f0000), regs.NVME_QUEUE_ID);
  assert.is(cq(0x0f0009), regs.NVME_QUEUE_ID);
  assert.is(cq(0x0f0001), regs.NVME_QUEUE_ID);
  assert.is(cq(0x000003), regs.NVME_QUEUE_SIZE);
  assert.is(cq(0x4000003), regs.NVME_QUEUE_SIZE);
  assert.is(cq(0x0f0003, 0), regs.NVME_INVALID_FIELD);
  assert.is(cq(0x0f0003, 1, DATA + 64), regs.NVME_PRP_OFFSET);
  assert.is(cq(0x0f0003, 0x10003), regs.NVME_VECTOR);
  assert.is(sq(0x0f0003), regs.NVME_CQ_INVALID);
  assert.is(cq(0x3ff0003), 0);
  assert.is(sq(0x0f0003, 0x00001), regs.NVME_QUEUE_ID);
  assert.is(sq(0x0f0003, 0x90001), regs.NVME_QUEUE_ID);
  assert.is(sq(0x0f0001), regs.NVME_QUEUE_ID);
  assert.is(sq(0x000003), regs.NVME_QUEUE_SIZE);
  assert.is(sq(0x0f0003, 0x30000), regs.NVME_INVALID_FIELD);
  assert.is(sq(0x0f0003, 0x30001, DATA + 8), regs.NVME_PRP_OFFSET);
  assert.is(sq(0x0f0003), 0);
});

test('queues are deleted submissions first; what they hold ends as aborted', async () => {
  const board = await Board.create();
  const remove = (opcode: number, id: number): number => board.admin({ opcode, dwords: { 10: id } }).status;
  assert.is(remove(regs.NVME_ADMIN_DELETE_CQ, 1), regs.NVME_QUEUE_DELETION);
  assert.is(remove(regs.NVME_ADMIN_DELETE_SQ, 0), regs.NVME_QUEUE_ID);
  assert.is(remove(regs.NVME_ADMIN_DELETE_SQ, 2), regs.NVME_QUEUE_ID);
  for (let i = 0; i < 3; i++) board.push(1, blocks(regs.NVME_READ, i, 1, DATA));
  board.ring(1);
  board.machine.advance(board.machine.now() + 1000);
  assert.is(remove(regs.NVME_ADMIN_DELETE_SQ, 1), 0);
  assert.equal(
    board.take(1).map(({ status }) => status),
    [8, 8, 8],
  );
  assert.is(remove(regs.NVME_ADMIN_DELETE_CQ, 1), 0);
  assert.is(remove(regs.NVME_ADMIN_DELETE_CQ, 1), regs.NVME_QUEUE_ID);
  board.makeQueue(1, 16);
  assert.is(board.io({ opcode: regs.NVME_FLUSH }).status, 0);
});

test('Abort ends its command alone, and says when there is none', async () => {
  const board = await Board.create();
  const ids = [0, 1, 2].map((i) => board.push(1, blocks(regs.NVME_READ, i, 1, DATA)));
  board.ring(1);
  board.machine.advance(board.machine.now() + 1000);
  const abort = (cid: number): number =>
    board.admin({ opcode: regs.NVME_ADMIN_ABORT, dwords: { 10: ((cid << 16) | 1) >>> 0 } }).result;
  assert.is(abort(ids[1] as number), 0);
  const ended = board.take(1);
  assert.equal(
    ids.map((id) => ended.find(({ cid }) => cid === id)?.status),
    [0, regs.NVME_ABORT_REQUESTED, 0],
  );
  assert.is(abort(ids[1] as number), 1);
});

test('four requests for events are taken, a fifth is not, and one can be aborted', async () => {
  const board = await Board.create();
  const ids = Array.from({ length: 5 }, () => board.push(0, { opcode: regs.NVME_ADMIN_ASYNC_EVENT }));
  board.ring(0);
  board.machine.settle();
  assert.equal(
    board.take(0).map(({ cid, status }) => [cid, status]),
    [[ids[4], regs.NVME_AER_LIMIT]],
  );
  board.push(0, { opcode: regs.NVME_ADMIN_ABORT, dwords: { 10: ((ids[2] as number) << 16) >>> 0 } });
  board.ring(0);
  board.machine.settle();
  assert.equal(
    board.take(0).map(({ status, result }) => [status, result]),
    [
      [regs.NVME_ABORT_REQUESTED, 0],
      [0, 0],
    ],
  );
});

test('a disk that comes or goes is a notice, and in the log of changed namespaces', async () => {
  const board = await Board.create({ disks: 2 });
  const log = (): Uint8Array => {
    board.admin({ opcode: regs.NVME_ADMIN_GET_LOG_PAGE, prp1: DATA, dwords: { 10: (1023 << 16) | 4 } });
    return board.machine.memory.readBytes(DATA, 4096);
  };
  log();
  board.admin({ opcode: regs.NVME_ADMIN_SET_FEATURES, dwords: { 10: regs.NVME_FEATURE_EVENTS, 11: 0x100 } });
  board.push(0, { opcode: regs.NVME_ADMIN_ASYNC_EVENT });
  board.push(1, { ...blocks(regs.NVME_READ, 0, 1, DATA), nsid: 2 });
  board.ring(0);
  board.ring(1);
  board.machine.advance(board.machine.now() + 1000);
  board.controller.detachDisk(1);
  board.machine.settle();
  assert.is(board.take(0)[0]?.result, 0x040002);
  assert.is(board.take(1)[0]?.status, regs.NVME_INVALID_NAMESPACE);
  assert.equal([get32(log(), 0), get32(log(), 0)], [2, 0]);
  assert.is(board.run(1, { ...blocks(regs.NVME_READ, 0, 1, DATA), nsid: 2 }).status, regs.NVME_INVALID_FIELD);
});

test('features: current, default, saved, capabilities', async () => {
  const board = await Board.create();
  const set = (dword10: number, dword11: number, nsid = 0): number =>
    board.admin({
      opcode: regs.NVME_ADMIN_SET_FEATURES,
      nsid,
      prp1: DATA,
      dwords: { 10: dword10, 11: dword11 },
    }).status;
  const get = (id: number, select = 0, dword11 = 0): number =>
    board.admin({
      opcode: regs.NVME_ADMIN_GET_FEATURES,
      dwords: { 10: id | (select << 8), 11: dword11 },
      prp1: DATA,
    }).result;
  assert.equal([get(1), get(1, 1), get(1, 3)], [3, 3, 5]);
  assert.is(set(1, 0x01020304), 0);
  assert.equal([get(1), get(1, 1), get(1, 2)], [0x01020304, 3, 3]);
  assert.is(set(0x80000001, 0x01020305), 0);
  board.start();
  assert.equal([get(1), get(1, 2)], [0x01020305, 0x01020305]);
  assert.is(set(0x80000007, 0), regs.NVME_NOT_SAVEABLE);
  assert.is(set(7, 0x30003), regs.NVME_SEQUENCE);
  assert.is(get(7), 0x70007);
  assert.is(set(6, 1, 1), regs.NVME_NOT_NAMESPACE);
  assert.is(set(2, 1), regs.NVME_INVALID_FIELD);
  assert.is(set(0x0f, 1), regs.NVME_INVALID_FIELD);
  assert.is(set(9, 0x10000), 0);
  assert.equal([get(9, 0, 0), get(4), get(4, 0, 1 << 20)], [0x10000, 343, 0]);
  board.machine.memory.writeBytes(DATA, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
  assert.equal([set(0x81, 0), set(0x81, 0)], [0, regs.NVME_SEQUENCE]);
  board.machine.memory.fill(DATA, 0, 8);
  get(0x81);
  assert.equal([...board.machine.memory.readBytes(DATA, 8)], [1, 2, 3, 4, 5, 6, 7, 8]);
});

test('a temperature threshold below the temperature is a SMART event', async () => {
  const board = await Board.create();
  board.admin({ opcode: regs.NVME_ADMIN_SET_FEATURES, dwords: { 10: 0x0b, 11: 2 } });
  board.push(0, { opcode: regs.NVME_ADMIN_ASYNC_EVENT });
  board.push(0, { opcode: regs.NVME_ADMIN_SET_FEATURES, dwords: { 10: 4, 11: 290 } });
  board.ring(0);
  board.machine.settle();
  assert.ok(board.take(0).some(({ result }) => result === 0x020101));
  board.admin({
    opcode: regs.NVME_ADMIN_GET_LOG_PAGE,
    nsid: 0xffffffff,
    prp1: DATA,
    dwords: { 10: (127 << 16) | 2 },
  });
  assert.equal([...board.machine.memory.readBytes(DATA, 3)], [2, 300 & 0xff, 1]);
});

test('logs: the newest error first, offsets, what does not exist', async () => {
  const board = await Board.create();
  const log = (id: number, dwords: number, offset = 0): number =>
    board.admin({
      opcode: regs.NVME_ADMIN_GET_LOG_PAGE,
      prp1: DATA,
      dwords: { 10: ((dwords - 1) << 16) | id, 12: offset },
    }).status;
  const failed = board.io({ opcode: 0x7f });
  assert.equal([failed.status, failed.flags], [regs.NVME_INVALID_OPCODE, 0x6000]);
  board.io(blocks(regs.NVME_READ, 5000, 1, DATA));
  assert.is(log(1, 32), 0);
  const { memory } = board.machine;
  assert.equal(
    [memory.read32(DATA), memory.read16(DATA + 12), memory.read32(DATA + 16)],
    [2, 0x6080 << 1, 5000],
  );
  assert.is(memory.read32(DATA + 64), 1);
  assert.is(log(1, 16, 64), 0);
  assert.is(memory.read32(DATA), 1);
  assert.is(log(5, 1024), 0);
  assert.equal(
    [memory.read32(DATA + 4 * 6), memory.read32(DATA + 4 * 13), memory.read32(DATA + 1024 + 4)],
    [1, 0, 3],
  );
  assert.is(log(0x70, 4), regs.NVME_LOG_PAGE);
  assert.is(log(2, 4, 2), regs.NVME_INVALID_FIELD);
  assert.is(log(2, 4, 1024), regs.NVME_INVALID_FIELD);
});

test('firmware: downloaded, committed to a slot, active after the next reset', async () => {
  const board = await Board.create();
  const commit = (action: number, slot: number): number =>
    board.admin({ opcode: regs.NVME_ADMIN_FIRMWARE_COMMIT, dwords: { 10: (action << 3) | slot } }).status;
  const download = (offset: number): number =>
    board.admin({
      opcode: regs.NVME_ADMIN_FIRMWARE_DOWNLOAD,
      prp1: DATA,
      dwords: { 10: 1023, 11: offset / 4 },
    }).status;
  assert.is(commit(0, 2), regs.NVME_FIRMWARE_IMAGE);
  board.machine.memory.writeBytes(DATA, new TextEncoder().encode('BKFW2.0     '));
  assert.is(download(0), 0);
  assert.is(download(4096), 0);
  assert.is(download(4096), regs.NVME_OVERLAPPING);
  assert.is(commit(1, 4), regs.NVME_FIRMWARE_SLOT);
  assert.is(commit(1, 2), 0);
  assert.is(text(board.identify(1), 64, 8), '1.0');
  board.start();
  assert.is(text(board.identify(1), 64, 8), '2.0');
  assert.is(commit(2, 3), regs.NVME_FIRMWARE_IMAGE);
  assert.is(commit(3, 1), 0);
  assert.is(text(board.identify(1), 64, 8), '1.0');
});

test('Format changes the block size and erases', async () => {
  const board = await Board.create();
  board.disk.write(0, pattern(8192, 9));
  const format = (dword10: number, nsid = 1): number =>
    board.admin({ opcode: regs.NVME_ADMIN_FORMAT, nsid, dwords: { 10: dword10 } }).status;
  assert.is(format(2), regs.NVME_INVALID_FORMAT);
  assert.is(format(0x20), regs.NVME_INVALID_FIELD);
  assert.is(format(2 << 9), regs.NVME_INVALID_FIELD);
  assert.is(format(0, 17), regs.NVME_INVALID_NAMESPACE);
  assert.is(format(1, 0xffffffff), 0);
  assert.ok(board.disk.read(0, 8192).every((byte) => byte === 0));
  assert.is(get32(board.identify(0, 1), 0), 256);
  const bytes = pattern(4096, 10);
  board.machine.memory.writeBytes(DATA, bytes);
  assert.is(board.io(blocks(regs.NVME_WRITE, 255, 1, DATA)).status, 0);
  assert.equal(board.disk.read(255 * 4096, 4096), bytes);
  assert.is(board.io(blocks(regs.NVME_WRITE, 256, 1, DATA)).status, regs.NVME_LBA_RANGE);
});

test('NVM commands on both sizes of sectors: write, read, compare, verify, zeroes, deallocate', async () => {
  for (const sectorBytes of [512, 4096] as const) {
    const board = await Board.create({ sectorBytes });
    const { memory } = board.machine;
    const bytes = pattern(8192, 3);
    const count = 8192 / sectorBytes;
    memory.writeBytes(DATA, bytes);
    const io = (opcode: number, lba: number, n = count): number =>
      board.io(blocks(opcode, lba, n, DATA, DATA + 4096)).status;
    assert.is(io(regs.NVME_WRITE, 16), 0);
    assert.equal(board.disk.read(16 * sectorBytes, 8192), bytes);
    assert.is(io(regs.NVME_COMPARE, 16), 0);
    memory.write8(DATA + 8191, 0);
    memory.write8(DATA, (bytes[0] as number) ^ 1);
    assert.is(io(regs.NVME_COMPARE, 16), regs.NVME_COMPARE_FAILURE);
    assert.is(io(regs.NVME_READ, 16), 0);
    assert.ok(memory.equals(DATA, bytes));
    assert.is(io(regs.NVME_VERIFY, 16), 0);
    assert.is(io(regs.NVME_WRITE_ZEROES, 16, 1), 0);
    assert.ok(board.disk.read(16 * sectorBytes, sectorBytes).every((byte) => byte === 0));
    board.disk.write(0, new Uint8Array(65536).fill(7));
    for (const [i, [first, n]] of [
      [1, 2],
      [5, 1],
      [0, 0],
      [8, 3],
    ].entries()) {
      memory.write32(DATA + 16 * i + 4, n as number);
      memory.write32(DATA + 16 * i + 8, first as number);
      memory.write32(DATA + 16 * i + 12, 0);
    }
    assert.is(board.io({ opcode: regs.NVME_DSM, prp1: DATA, dwords: { 10: 3, 11: 4 } }).status, 0);
    const zero = Array.from({ length: 12 }, (_, i) =>
      board.disk.read(i * sectorBytes, 1)[0] === 0 ? i : -1,
    );
    assert.equal(
      zero.filter((i) => i >= 0),
      [1, 2, 5, 8, 9, 10],
    );
  }
});

test('what a command may not name is refused', async () => {
  const board = await Board.create();
  const status = (fields: object): number =>
    board.io({ ...blocks(regs.NVME_READ, 0, 1, DATA), ...fields }).status;
  assert.is(status({ nsid: 0 }), regs.NVME_INVALID_NAMESPACE);
  assert.is(status({ nsid: 0xffffffff }), regs.NVME_INVALID_NAMESPACE);
  assert.is(status({ nsid: 2 }), regs.NVME_INVALID_FIELD);
  assert.is(status({ flags: 1 }), regs.NVME_INVALID_FIELD);
  assert.is(status({ flags: 0xc0 }), regs.NVME_INVALID_FIELD);
  assert.is(status({ opcode: 0x04 }), regs.NVME_INVALID_OPCODE);
  assert.is(status({ dwords: { 10: 0xffffffff, 11: 0xffffffff, 12: 0 } }), regs.NVME_LBA_RANGE);
  for (const opcode of [0x0d, 0x15, 0x18])
    assert.is(board.admin({ opcode }).status, regs.NVME_INVALID_OPCODE);
});

test('media errors, write protection and force unit access', async () => {
  const board = await Board.create();
  const { disk, machine } = board;
  machine.addFault({ disk, kind: 'error', first: 19, last: 19 });
  assert.is(board.io(blocks(regs.NVME_READ, 16, 8, DATA)).status, regs.NVME_READ_ERROR);
  assert.is(board.io(blocks(regs.NVME_WRITE, 16, 8, DATA)).status, regs.NVME_WRITE_FAULT);
  const before = disk.counters.flushes;
  const write = blocks(regs.NVME_WRITE, 0, 8, DATA);
  assert.is(board.io({ ...write, dwords: { 10: 0, 12: 7 + regs.NVME_FUA } }).status, 0);
  assert.is(disk.counters.flushes - before, 1);
  board.admin({ opcode: regs.NVME_ADMIN_SET_FEATURES, dwords: { 10: 6, 11: 0 } });
  assert.is(board.io(write).status, 0);
  assert.is(disk.counters.flushes - before, 2);
  const locked = await Board.create({ readOnly: true });
  assert.is(locked.io(write).status, regs.NVME_WRITE_PROTECTED);
});

test('commands that found no room in a queue that is deleted are gone, wherever their submission queue is now', async () => {
  const board = await Board.create({ queues: 0 });
  const remove = (opcode: number, id: number): number => board.admin({ opcode, dwords: { 10: id } }).status;
  const make = (opcode: number, id: number, prp1: number, entries: number, dword11: number): number =>
    board.admin({ opcode, prp1, dwords: { 10: id | ((entries - 1) << 16), 11: dword11 } }).status;
  // Each round leaves 62 commands of queue 1 waiting for completion queue 1, and moves queue 1 to another one.
  for (let round = 0; round < 40; round++) {
    board.forget(1, 64);
    assert.is(make(regs.NVME_ADMIN_CREATE_CQ, 1, board.completions(1), 2, 3), 0);
    assert.is(make(regs.NVME_ADMIN_CREATE_CQ, 2, board.completions(2), 64, 3), 0);
    assert.is(make(regs.NVME_ADMIN_CREATE_SQ, 1, board.submissions(1), 64, 0x10001), 0);
    for (let i = 0; i < 63; i++) board.push(1, blocks(regs.NVME_READ, i, 1, DATA));
    board.ring(1);
    board.machine.settle();
    assert.is(remove(regs.NVME_ADMIN_DELETE_SQ, 1), 0);
    assert.is(make(regs.NVME_ADMIN_CREATE_SQ, 1, board.submissions(1), 64, 0x20001), 0);
    assert.is(remove(regs.NVME_ADMIN_DELETE_CQ, 1), 0);
    assert.is(remove(regs.NVME_ADMIN_DELETE_SQ, 1), 0);
    assert.is(remove(regs.NVME_ADMIN_DELETE_CQ, 2), 0);
  }
  board.makeQueue(1, 64);
  assert.is(board.io(blocks(regs.NVME_READ, 0, 1, DATA)).status, 0);
});

test('Format and commands under way do not meet, in either order (5.23)', async () => {
  const board = await Board.create({ disks: 2 });
  const { machine } = board;
  const format = (nsid: number): void => {
    board.push(0, { opcode: regs.NVME_ADMIN_FORMAT, nsid, dwords: { 10: 1 } });
    board.ring(0);
    machine.advance(machine.now() + 100);
  };
  const size = (): number => get32(board.identify(regs.NVME_CNS_NAMESPACE, 1), 0);
  board.disk.write(0, pattern(2 ** 16, 1));
  // A read of 4 KiB by the blocks of now: the format of its namespace is refused, that of the other is not.
  machine.addFault({ disk: board.disk, kind: 'delay', operations: ['read'], argument: 1e6 });
  board.push(1, blocks(regs.NVME_READ, 8, 8, DATA));
  board.ring(1);
  machine.advance(machine.now() + 100);
  for (const nsid of [1, 0xffffffff, 2]) format(nsid);
  machine.settle();
  assert.equal(
    board.take(0).map(({ status, flags }) => [status, flags & regs.NVME_STATUS_DNR]),
    [
      [regs.NVME_SEQUENCE, 0],
      [regs.NVME_SEQUENCE, 0],
      [0, 0],
    ],
  );
  assert.equal(
    board.take(1).map(({ status }) => status),
    [0],
  );
  assert.ok(machine.memory.equals(DATA, pattern(2 ** 16, 1).subarray(4096, 8192)));
  assert.is(size(), 2048);
  // A second format waits for the first one to be over, and does not end what it found under way.
  format(1);
  format(1);
  board.push(1, blocks(regs.NVME_READ, 0, 8, DATA));
  board.ring(1);
  machine.settle();
  assert.equal(
    board.take(0).map(({ status }) => status),
    [regs.NVME_FORMAT_IN_PROGRESS, 0],
  );
  assert.is(board.take(1)[0]?.status, regs.NVME_FORMAT_IN_PROGRESS);
  assert.is(size(), 256);
  assert.is(board.io(blocks(regs.NVME_READ, 255, 2, DATA)).status, regs.NVME_LBA_RANGE);
});
