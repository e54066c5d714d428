import { assert, suite } from '../run/suite.ts';
import { ADMIN_ENTRIES, Board, blocks, DATA, pattern, regs } from './board.ts';

const test = suite('nvme: registers');

test('class, BAR and capabilities are those of an NVMe controller', async () => {
  const { controller } = await Board.create({ cold: true });
  assert.is(controller.configRead(0, 4), 0x00101b36);
  assert.is(controller.configRead(8, 4), 0x01080202);
  assert.equal(controller.bars(), [{ index: 0, kind: 'memory', wide: true, bytes: 0x4000 }]);
  assert.is(controller.read32(0, regs.NVME_VS), 0x10400);
  assert.is(controller.read32(0, regs.NVME_CAP), 0x010303ff);
  assert.is(controller.read32(0, regs.NVME_CAP_HIGH), 0x00400030);
});

test('CSTS.RDY follows CC.EN after its time, and not before', async () => {
  const board = await Board.create({ cold: true });
  board.write(regs.NVME_AQA, 0x001f001f);
  board.write(regs.NVME_ASQ, 0x100fff);
  board.write(regs.NVME_ACQ, 0x110000);
  assert.is(board.read(regs.NVME_ASQ), 0x100000);
  board.write(regs.NVME_CC, 0x460001);
  board.machine.advance(999_999);
  assert.is(board.read(regs.NVME_CSTS), 0);
  board.machine.advance(1_000_000);
  assert.is(board.read(regs.NVME_CSTS), regs.NVME_CSTS_RDY);
  board.write(regs.NVME_CC, 0x460000);
  assert.is(board.read(regs.NVME_CSTS), regs.NVME_CSTS_RDY);
  board.machine.settle();
  assert.is(board.read(regs.NVME_CSTS), 0);
  assert.is(board.read(regs.NVME_AQA), 0x001f001f);
});

test('settings that do not exist are fatal: CSS, MPS, AMS, empty admin queues', async () => {
  for (const cc of [0x10, 5 << 7, 2 << 11]) {
    const board = await Board.create({ cold: true });
    board.enable(cc);
    assert.is(board.read(regs.NVME_CSTS), regs.NVME_CSTS_CFS);
    board.enable(0);
    assert.is(board.read(regs.NVME_CSTS), regs.NVME_CSTS_RDY);
  }
  const board = await Board.create({ cold: true });
  board.write(regs.NVME_CC, 1);
  assert.is(board.read(regs.NVME_CSTS), regs.NVME_CSTS_CFS);
});

test('a normal shutdown flushes every disk, an abrupt one none', async () => {
  for (const [shn, flushes] of [
    [regs.NVME_CC_SHN_NORMAL, 2],
    [regs.NVME_CC_SHN_ABRUPT, 0],
  ] as const) {
    const board = await Board.create({ disks: 2 });
    board.write(regs.NVME_CC, 0x460001 | shn);
    assert.is(board.read(regs.NVME_CSTS) & regs.NVME_CSTS_SHST, regs.NVME_CSTS_SHST_BUSY);
    board.machine.settle();
    assert.is(board.read(regs.NVME_CSTS) & regs.NVME_CSTS_SHST, regs.NVME_CSTS_SHST_DONE);
    assert.is(
      board.disks.reduce((sum, disk) => sum + disk.counters.flushes, 0),
      flushes,
    );
    board.start();
    assert.is(board.io({ opcode: regs.NVME_FLUSH }).status, 0);
  }
});

test('a controller reset in the middle of a transfer leaves memory alone and drops the command', async () => {
  const board = await Board.create();
  board.disk.write(0, pattern(4096, 1));
  board.push(1, blocks(regs.NVME_READ, 0, 8, DATA));
  board.ring(1);
  board.machine.advance(board.machine.now() + 1000);
  assert.is(board.controller.counters.commands > 2, true);
  board.write(regs.NVME_CC, 0);
  board.machine.settle();
  assert.ok(board.machine.memory.equals(DATA, new Uint8Array(4096)));
  assert.is(board.take(1).length, 0);
  board.start();
  assert.is(board.io(blocks(regs.NVME_READ, 0, 8, DATA)).status, 0);
  assert.ok(board.machine.memory.equals(DATA, pattern(4096, 1)));
});

test('NSSR resets with the four letters alone, and says so until it is cleared', async () => {
  const board = await Board.create();
  board.write(regs.NVME_NSSR, 0x12345678);
  assert.is(board.read(regs.NVME_CSTS), regs.NVME_CSTS_RDY);
  board.write(regs.NVME_NSSR, regs.NVME_NSSR_VALUE);
  assert.is(board.read(regs.NVME_CSTS), regs.NVME_CSTS_NSSRO);
  assert.is(board.read(regs.NVME_AQA), 0);
  board.write(regs.NVME_CSTS, regs.NVME_CSTS_NSSRO);
  assert.is(board.read(regs.NVME_CSTS), 0);
});

test('the pin is up while a queue has entries, and INTMS masks it', async () => {
  const board = await Board.create();
  board.push(1, { opcode: regs.NVME_FLUSH, nsid: 1 });
  board.ring(1);
  board.machine.settle();
  assert.ok(board.line);
  board.write(regs.NVME_INTMS, 1);
  assert.not.ok(board.line);
  assert.is(board.read(regs.NVME_INTMC), 1);
  board.write(regs.NVME_INTMC, 1);
  assert.ok(board.line);
  board.take(1);
  assert.not.ok(board.line);
});

test('a doorbell carries a batch: completions at one time are one interrupt', async () => {
  const board = await Board.create();
  const before = board.controller.counters.interrupts;
  for (let i = 0; i < 32; i++) board.push(1, blocks(regs.NVME_READ, i, 1, DATA + 512 * i));
  board.ring(1);
  board.machine.settle();
  assert.is(board.take(1).length, 32);
  assert.is(board.controller.counters.interrupts - before, 1);
});

test('doorbells of queues that are not there, or beyond a queue, are events', async () => {
  const board = await Board.create();
  const wait = (): number => board.push(0, { opcode: regs.NVME_ADMIN_ASYNC_EVENT });
  const id = wait();
  board.ring(0);
  board.machine.settle();
  board.write(regs.NVME_DOORBELLS + 8 * 5, 1);
  board.machine.settle();
  const [first] = board.take(0);
  assert.equal([first?.cid, first?.status, first?.result], [id, 0, 0x010000]);
  // Masked until the log was read.
  wait();
  board.ring(0);
  board.write(regs.NVME_DOORBELLS + 8, 64);
  board.machine.settle();
  assert.is(board.take(0).length, 0);
  board.push(0, { opcode: regs.NVME_ADMIN_GET_LOG_PAGE, prp1: DATA, dwords: { 10: (15 << 16) | 1 } });
  board.ring(0);
  board.machine.settle();
  assert.equal(
    board.take(0).map(({ result }) => result),
    [0x010100, 0],
  );
  // The queue goes on as if nothing was.
  assert.is(board.io({ opcode: regs.NVME_FLUSH }).status, 0);
  board.write(regs.NVME_DOORBELLS + 8 + 4, 9);
  assert.is(board.io({ opcode: regs.NVME_FLUSH }).status, 0);
});

test('a completion queue that is full holds commands back, and loses none', async () => {
  const board = await Board.create({ queues: 0 });
  board.makeQueue(1, 4);
  // A larger submission queue on the same completion queue.
  board.admin({
    opcode: regs.NVME_ADMIN_CREATE_SQ,
    prp1: board.submissions(2),
    dwords: { 10: 2 | (31 << 16), 11: (1 << 16) | 1 },
  });
  board.forget(2, 32);
  const ids = Array.from({ length: 20 }, () => board.push(2, { opcode: regs.NVME_FLUSH, nsid: 1 }));
  board.ring(2);
  board.machine.settle();
  const found: number[] = [];
  for (let i = 0; i < 10; i++) {
    const some = board.take(1);
    assert.ok(some.length <= 3);
    found.push(...some.map(({ cid }) => cid));
    board.machine.settle();
  }
  assert.equal(found, ids);
});

test('round robin goes a burst a queue, weighted round robin by class', async () => {
  const order = async (cc: number, priorities: number[]): Promise<number[]> => {
    const board = await Board.create({ queues: 0, cc });
    for (const [i, priority] of priorities.entries()) board.makeQueue(i + 1, 64, priority);
    // Bursts of two; weights 4, 2, 1.
    board.admin({ opcode: regs.NVME_ADMIN_SET_FEATURES, dwords: { 10: 1, 11: 0x03010001 } });
    for (let i = 0; i < priorities.length; i++) {
      for (let n = 0; n < 16; n++) board.push(i + 1, { opcode: regs.NVME_FLUSH, nsid: 0 });
      board.ring(i + 1);
    }
    const fetched: number[] = [];
    board.machine.tracer.listen(({ name, fields }) => {
      if (name === 'command') fetched.push((fields as { tag: number }).tag >>> 16);
    });
    board.machine.settle();
    return fetched.filter((_, i) => i % 2 === 0);
  };
  assert.equal((await order(0, [0, 0, 0])).slice(0, 6), [1, 2, 3, 1, 2, 3]);
  assert.equal((await order(0x800, [3, 2, 1])).slice(0, 8), [3, 3, 3, 3, 2, 2, 1, 3]);
  assert.equal((await order(0x800, [3, 0])).slice(0, 9), [2, 2, 2, 2, 2, 2, 2, 2, 1]);
});

test('a queue without memory behind it is fatal until the controller is reset', async () => {
  const board = await Board.create({ cold: true });
  board.enable();
  board.write(regs.NVME_CC, 0);
  board.machine.settle();
  board.write(regs.NVME_ASQ, 0x40000000);
  board.write(regs.NVME_CC, 0x460001);
  board.machine.settle();
  board.write(regs.NVME_DOORBELLS, ADMIN_ENTRIES - 1);
  board.machine.settle();
  assert.is(board.read(regs.NVME_CSTS) & regs.NVME_CSTS_CFS, regs.NVME_CSTS_CFS);
  board.start();
  assert.is(board.read(regs.NVME_CSTS), regs.NVME_CSTS_RDY);
});

test('MSI-X: a message a queue; one that is masked stays pending until it is not', async () => {
  const board = await Board.create({ queues: 0 });
  const { controller, machine } = board;
  const at = regs.NVME_CAP_AT_MSIX;
  assert.equal([controller.configRead(at, 1), controller.configRead(at + 2, 2)], [0x11, 8]);
  const entry = regs.NVME_MSIX_TABLE + 2 * 16;
  for (const [i, word] of [0xfee00000, 0, 0x62].entries()) board.write(entry + 4 * i, word);
  controller.configWrite(at + 2, 2, 0x8000);
  board.makeQueue(1, 16, 0, 2);
  assert.is(machine.takeMsi(), -1);
  board.io({ opcode: regs.NVME_FLUSH });
  assert.equal([machine.takeMsi(), board.line], [-1, false]);
  assert.is(board.read(regs.NVME_MSIX_PENDING), 0b101);
  board.write(entry + 12, 0);
  assert.equal([machine.takeMsi(), board.read(regs.NVME_MSIX_PENDING)], [0x62, 0b001]);
  board.io({ opcode: regs.NVME_FLUSH });
  assert.is(machine.takeMsi(), 0x62);
});

test('interrupts are coalesced by number and by time, the admin queue never', async () => {
  const board = await Board.create();
  // More than four completions, or 200 µs.
  board.admin({
    opcode: regs.NVME_ADMIN_SET_FEATURES,
    dwords: { 10: regs.NVME_FEATURE_COALESCING, 11: 0x0204 },
  });
  assert.not.ok(board.line);
  const start = board.machine.now();
  board.push(1, { opcode: regs.NVME_FLUSH, nsid: 1 });
  board.ring(1);
  board.machine.advance(start + 150_000);
  assert.not.ok(board.line);
  board.machine.advance(start + 250_000);
  assert.ok(board.line);
  board.take(1);
  for (let i = 0; i < 5; i++) board.push(1, { opcode: regs.NVME_FLUSH, nsid: 1 });
  board.ring(1);
  board.machine.advance(board.machine.now() + 20_000);
  assert.ok(board.line);
});

test('a controller that was shut down while it was disabled works once it is enabled (3.1.6, SHST)', async () => {
  const board = await Board.create({ cold: true });
  for (const waits of [true, false]) {
    board.write(regs.NVME_CC, regs.NVME_CC_SHN_NORMAL);
    if (waits) board.machine.settle();
    const done = waits ? regs.NVME_CSTS_SHST_DONE : regs.NVME_CSTS_SHST_BUSY;
    assert.is(board.read(regs.NVME_CSTS) & regs.NVME_CSTS_SHST, done);
    board.start();
    assert.is(board.read(regs.NVME_CSTS), regs.NVME_CSTS_RDY);
    assert.is(board.io(blocks(regs.NVME_READ, 0, 1, DATA)).status, 0);
    board.write(regs.NVME_CC, 0);
    board.machine.settle();
  }
});
