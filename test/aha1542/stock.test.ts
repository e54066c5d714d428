// What the drivers of three kernels do with a board, access by access, as far as they depend on its answers:
// Linux aha1542 (5.10 and 6.1), FreeBSD aha, NetBSD aha.

import * as regs from '../../assembly/aha1542/regs.ts';
import * as scsi from '../../assembly/scsi/regs.ts';
import { assert, suite } from '../run/suite.ts';
import { ascOf, Board, be24, DATA, LISTS, MAILBOXES, pattern, rw10 } from './board.ts';

const test = suite('aha1542: stock drivers');

const { PORT_COMMAND, PORT_DATA, PORT_STATUS, PORT_INTERRUPT } = regs;
const READY = regs.STATUS_INIT | regs.STATUS_IDLE;
const DONE = regs.INTERRUPT_ANY | regs.INTERRUPT_HACC;

/** A command as FreeBSD and NetBSD send it: status and flags are read before each byte goes either way. */
function command(board: Board, bytes: readonly number[], answer = 0): number[] {
  const { controller } = board;
  assert.is(board.status & (regs.STATUS_IDLE | regs.STATUS_CDF | regs.STATUS_DF), regs.STATUS_IDLE);
  for (const [i, byte] of bytes.entries()) {
    if (i > 0) {
      assert.is(board.status & (regs.STATUS_CDF | regs.STATUS_DF | regs.STATUS_IDLE), 0);
      assert.is(board.interrupts, 0, 'not over before its parameters are in');
    }
    controller.write8(0, PORT_COMMAND, byte);
  }
  const reply = Array.from({ length: answer }, () => {
    assert.is(board.status & regs.STATUS_DF, regs.STATUS_DF);
    assert.is(board.interrupts, 0, 'not over before its answer is read');
    return controller.read8(0, PORT_DATA);
  });
  assert.is(board.status & (regs.STATUS_DF | regs.STATUS_INVDCMD), 0);
  assert.is(board.interrupts, DONE);
  board.control(regs.CONTROL_IRST);
  assert.is(board.interrupts, 0);
  return reply;
}

/** Takes what a driver has set up over into the board's helper. */
function initMailboxes(board: Board): void {
  board.machine.memory.fill(MAILBOXES, 0, 8 * board.mailboxes);
  command(board, [regs.CMD_MAILBOX_INIT, board.mailboxes, ...be24(MAILBOXES)]);
  assert.is(board.status, regs.STATUS_IDLE);
  board.nextOut = 0;
  board.nextIn = 0;
}

test('Linux: soft reset, inquiry, unlock, configuration, bus times, mailboxes, first command', async () => {
  const board = await Board.create({ ready: false });
  assert.is.not(board.controller.read8(0, PORT_STATUS), 0xff);
  board.control(regs.CONTROL_IRST);
  board.control(regs.CONTROL_SRST | regs.CONTROL_IRST);
  assert.is(board.status, READY);
  assert.is(board.controller.read8(0, PORT_INTERRUPT), 0);
  assert.equal(command(board, [regs.CMD_INQUIRY], 4).slice(0, 1), [regs.BOARD_1542CF]);
  const [flags = 0, lock = 0] = command(board, [regs.CMD_EXTENDED_BIOS], 2);
  assert.equal([flags & 8, lock], [8, 1], 'the driver unlocks if either says so');
  command(board, [regs.CMD_MAILBOX_ENABLE, 0, lock]);
  assert.equal(command(board, [regs.CMD_CONFIGURATION], 3), [0x20, 0x04, 7], 'DMA 5, IRQ 11, id 7');
  command(board, [regs.CMD_BUS_ON, 11]);
  command(board, [regs.CMD_BUS_OFF, 4]);
  command(board, [regs.CMD_SPEED, 0]);
  initMailboxes(board);
  const inquiry = {
    cdb: [scsi.OP_INQUIRY, 0, 0, 0, 36, 0],
    dataLength: 36,
    dataPointer: DATA,
    senseLength: 16,
  };
  board.post(board.writeCcb(0, inquiry));
  board.start();
  board.machine.settle();
  assert.is(board.interrupts, regs.INTERRUPT_ANY | regs.INTERRUPT_MBIF);
  assert.ok((board.machine.irqLines & (1 << 11)) !== 0);
  board.control(regs.CONTROL_IRST);
  assert.is(board.machine.irqLines & (1 << 11), 0);
  assert.equal(board.takeMail(), { mail: regs.MBI_SUCCESS, ccb: board.ccbAddress(0) });
  assert.equal([board.outcome(0, 0).host, board.outcome(0, 0).target], [0, 0]);
  assert.is(board.machine.memory.read8(DATA + 2), scsi.INQUIRY_VERSION_SPC3);
});

test('Linux: a unit attention fills 16 bytes of sense behind a descriptor block of even length', async () => {
  const board = await Board.create({ ready: false });
  board.setUp();
  const outcome = board.execute({ cdb: [0, 0, 0, 0, 0, 0], senseLength: 16 });
  assert.equal(
    [outcome.mail, outcome.host, outcome.target],
    [regs.MBI_ERROR, 0, scsi.STATUS_CHECK_CONDITION],
  );
  assert.is(ascOf(outcome.sense), scsi.ASC_RESET);
  assert.equal([...outcome.sense.subarray(16, 20)], [0, 0, 0, 0], 'no byte behind the sixteenth');
});

test('Linux: a bus reset leaves the board idle, a host reset makes it set up its mailboxes again', async () => {
  const board = await Board.create();
  const bad = regs.STATUS_STST | regs.STATUS_DIAGF | regs.STATUS_INVDCMD | regs.STATUS_DF | regs.STATUS_CDF;
  board.control(regs.CONTROL_SCRST);
  assert.is(board.status & (bad | regs.STATUS_IDLE), regs.STATUS_IDLE);
  board.control(regs.CONTROL_IRST);
  assert.is(ascOf(board.execute({}).sense), scsi.ASC_RESET);
  board.control(regs.CONTROL_HRST | regs.CONTROL_SCRST);
  board.machine.settle();
  assert.is(board.status & (bad | regs.STATUS_IDLE), regs.STATUS_IDLE);
  initMailboxes(board);
  assert.is(ascOf(board.execute({}).sense), scsi.ASC_RESET);
  assert.is(board.execute({}).mail, regs.MBI_SUCCESS);
});

test('FreeBSD: hard reset shows the self-test, the extended BIOS answer unlocks as it is', async () => {
  const board = await Board.create({ ready: false });
  assert.is(board.status & (regs.STATUS_STST | regs.STATUS_CDF | 0x02), 0);
  assert.is.not(board.status, 0);
  assert.is(board.interrupts & 0x70, 0, 'reserved bits');
  board.control(regs.CONTROL_HRST);
  assert.is(board.status & regs.STATUS_STST, regs.STATUS_STST);
  board.machine.settle();
  assert.is(board.status, READY);
  command(board, [regs.CMD_INQUIRY], 4);
  command(board, [regs.CMD_MAILBOX_ENABLE, ...command(board, [regs.CMD_EXTENDED_BIOS], 2)]);
  assert.is(command(board, [regs.CMD_SETUP_DATA, 17], 17)[0], 3, 'parity, synchronous negotiation');
  command(board, [regs.CMD_CONFIGURATION], 3);
  initMailboxes(board);
  board.execute({});
  assert.is(board.execute({ direction: regs.DIRECTION_NONE }).mail, regs.MBI_SUCCESS);
});

test('FreeBSD: an old board does not know the extended commands, and says so before they end', async () => {
  const board = await Board.create({ profile: 'aha1542b', ready: false });
  assert.is(board.controller.read8(0, regs.PORT_SIGNATURE), 0xff, 'no geometry register');
  board.controller.write8(0, PORT_COMMAND, regs.CMD_EXTENDED_BIOS);
  assert.is(board.status & regs.STATUS_INVDCMD, regs.STATUS_INVDCMD);
  assert.is(board.interrupts, DONE);
  board.control(regs.CONTROL_IRST);
  assert.is(board.status, READY, 'not wedged');
});

test('FreeBSD: an underrun is an error with a residual, so that the driver looks at it', async () => {
  const board = await Board.create();
  const short = board.execute({
    opcode: regs.OPCODE_INITIATOR_RESIDUAL,
    direction: regs.DIRECTION_IN,
    cdb: [scsi.OP_INQUIRY, 0, 0, 0, 255, 0],
    dataLength: 255,
    dataPointer: DATA,
    senseLength: 252,
  });
  assert.equal(
    [short.mail, short.host, short.target, short.residual],
    [regs.MBI_ERROR, regs.HOST_OVERRUN, scsi.STATUS_GOOD, 255 - scsi.INQUIRY_BYTES],
  );
});

test('FreeBSD: a device reset has no descriptor block and both direction bits', async () => {
  const board = await Board.create();
  const reset = {
    opcode: regs.OPCODE_DEVICE_RESET,
    direction: regs.DIRECTION_NONE,
    cdbLength: 0,
    senseLength: 0,
  };
  const outcome = board.execute(reset);
  assert.equal([outcome.mail, outcome.host], [regs.MBI_SUCCESS, regs.HOST_OK]);
  assert.is(ascOf(board.execute({}).sense), scsi.ASC_RESET);
});

test('NetBSD: scatter lists without a direction, in the CCB itself', async () => {
  const board = await Board.create();
  const bytes = pattern(1024, 3);
  board.disk.write(512, bytes);
  const list = [
    { address: DATA + 1, bytes: 500 },
    { address: DATA + 0x1000, bytes: 524 },
  ];
  const scatter = { opcode: regs.OPCODE_SCATTER, dataPointer: LISTS, dataLength: board.writeList(list) };
  assert.is(board.execute({ ...scatter, cdb: rw10(scsi.OP_READ_10, 1, 2) }).mail, regs.MBI_SUCCESS);
  assert.ok(board.machine.memory.equals(DATA + 1, bytes, 0, 500));
  assert.ok(board.machine.memory.equals(DATA + 0x1000, bytes, 500, 524));
  assert.is(board.execute({ ...scatter, cdb: rw10(scsi.OP_WRITE_10, 8, 2) }).mail, regs.MBI_SUCCESS);
  assert.equal(board.disk.read(8 * 512, 1024), bytes);
  const inquiry = board.execute({ ...scatter, cdb: [scsi.OP_INQUIRY, 0, 0, 0, 36, 0] });
  assert.equal([inquiry.mail, inquiry.host], [regs.MBI_SUCCESS, regs.HOST_OK], 'nobody checks the length');
});

test('NetBSD: the interrupt of empty out mailboxes is switched without a command-complete', async () => {
  const board = await Board.create();
  for (const byte of [regs.CMD_ENABLE_MBOE, 1]) board.controller.write8(0, PORT_COMMAND, byte);
  assert.is(board.interrupts, 0);
  board.post(board.writeCcb(0, {}));
  board.start();
  assert.is(board.interrupts & regs.INTERRUPT_MBOE, regs.INTERRUPT_MBOE);
  board.control(regs.CONTROL_IRST);
  for (const byte of [regs.CMD_ENABLE_MBOE, 0]) board.controller.write8(0, PORT_COMMAND, byte);
  board.machine.settle();
  board.takeMail();
  board.control(regs.CONTROL_IRST);
  board.post(board.writeCcb(0, {}));
  board.start();
  assert.is(board.interrupts & regs.INTERRUPT_MBOE, 0);
});

test('NetBSD: a command that timed out is aborted by its CCB, and its mail says so', async () => {
  const board = await Board.create({ disk: { latencyNs: 1e9 } });
  const ccb = board.writeCcb(0, { cdb: rw10(scsi.OP_READ_10, 0, 1), dataLength: 512, dataPointer: DATA });
  board.post(ccb);
  board.start();
  board.machine.advance(board.machine.now() + 1e6);
  board.post(ccb, regs.MBO_ABORT);
  board.start();
  assert.equal(board.takeMail(), { mail: regs.MBI_ABORTED, ccb });
  board.machine.settle();
  assert.is(board.takeMail(), null, 'one mail for one command');
});

/** aha1542_queuecommand: scatter lists up to 5.12 wherever there are data, one low buffer and opcode 0 since. */
function linuxCommand(
  board: Board,
  slot: number,
  target: number,
  lists: boolean,
  cdb: readonly number[],
  bytes = 0,
): void {
  const writes = cdb[0] === scsi.OP_WRITE_10;
  const reads = cdb[0] === scsi.OP_READ_10;
  const data = DATA + slot * 0x2000;
  const direction = writes ? regs.DIRECTION_OUT : reads ? regs.DIRECTION_IN : 0;
  const base = { cdb, target, direction, senseLength: 16 };
  if (bytes === 0 || !lists) {
    board.post(board.writeCcb(slot, { ...base, dataLength: bytes, dataPointer: bytes === 0 ? 0 : data }));
    return;
  }
  const half = Math.ceil(bytes / 4) * 2;
  const parts = [
    { address: data, bytes: half },
    { address: data + half, bytes: bytes - half },
  ].filter((part) => part.bytes > 0);
  const list = LISTS + slot * 0x80;
  const length = board.writeList(parts, list);
  const opcode = regs.OPCODE_SCATTER;
  board.post(board.writeCcb(slot, { ...base, opcode, dataLength: length, dataPointer: list }));
}

for (const [kernel, lists] of [
  ['5.10', true],
  ['6.1', false],
] as const) {
  test(`Linux ${kernel}: a scan of seven targets, then eight mailboxes around and around`, async () => {
    const board = await Board.create({ ready: false, mailboxes: 8 });
    board.setUp();
    const { machine } = board;
    const { memory } = machine;
    /** One command to its interrupt: how it ended, by host and target, as the handler reads it. */
    const run = (slot: number, target: number, cdb: readonly number[], bytes = 0): number[] => {
      linuxCommand(board, slot, target, lists, cdb, bytes);
      board.start();
      machine.settle();
      assert.is(board.interrupts, regs.INTERRUPT_ANY | regs.INTERRUPT_MBIF);
      board.control(regs.CONTROL_IRST);
      const mail = board.takeMail();
      assert.is(mail?.ccb, board.ccbAddress(slot));
      const { host, target: status } = board.outcome(slot, 0);
      return [mail?.mail ?? 0, host, status];
    };
    const inquiry = [scsi.OP_INQUIRY, 0, 0, 0, 36, 0];
    for (let target = 0; target < 7; target++) {
      const found = run(0, target, inquiry, 36);
      assert.equal(found, target === 0 ? [regs.MBI_SUCCESS, 0, 0] : [regs.MBI_ERROR, 0x11, found[2] ?? 0]);
    }
    assert.equal(run(1, 0, [0, 0, 0, 0, 0, 0]), [regs.MBI_ERROR, 0, scsi.STATUS_CHECK_CONDITION]);
    assert.equal(run(1, 0, [0, 0, 0, 0, 0, 0]), [regs.MBI_SUCCESS, 0, 0]);
    assert.equal(run(2, 0, [scsi.OP_READ_CAPACITY_10, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8), [
      regs.MBI_SUCCESS,
      0,
      0,
    ]);
    assert.equal([...memory.readBytes(DATA + 0x4000, 8)], [0, 0, 1, 255, 0, 0, 2, 0]);
    // Eight at once, four times: all of them end, whatever the order, behind as many interrupts as it takes.
    for (let round = 0; round < 4; round++) {
      for (let slot = 0; slot < 8; slot++) {
        memory.writeBytes(DATA + slot * 0x2000, pattern(4096, round * 8 + slot));
        linuxCommand(board, slot, 0, lists, rw10(scsi.OP_WRITE_10, slot * 8, 8), 4096);
        board.start();
      }
      const ended = new Set<number>();
      for (let tries = 0; ended.size < 8; tries++) {
        assert.ok(tries < 100);
        machine.settle();
        board.control(regs.CONTROL_IRST);
        for (let mail = board.takeMail(); mail !== null; mail = board.takeMail()) {
          assert.is(mail.mail, regs.MBI_SUCCESS);
          ended.add(mail.ccb);
        }
      }
      for (let slot = 0; slot < 8; slot++) {
        assert.equal(board.disk.read(slot * 4096, 4096), pattern(4096, round * 8 + slot));
        memory.fill(DATA + slot * 0x2000, 0, 4096);
        assert.equal(run(slot, 0, rw10(scsi.OP_READ_10, slot * 8, 8), 4096), [regs.MBI_SUCCESS, 0, 0]);
        assert.ok(memory.equals(DATA + slot * 0x2000, pattern(4096, round * 8 + slot)));
      }
    }
    // aha1542_dev_reset: operation 81h without anything else.
    const reset = { opcode: regs.OPCODE_DEVICE_RESET, target: 0, cdb: [], senseLength: 0 };
    board.post(board.writeCcb(3, reset));
    board.start();
    machine.settle();
    board.control(regs.CONTROL_IRST);
    assert.is(board.takeMail()?.mail, regs.MBI_SUCCESS);
    assert.equal(run(4, 0, [0, 0, 0, 0, 0, 0]), [regs.MBI_ERROR, 0, scsi.STATUS_CHECK_CONDITION]);
    assert.equal(run(4, 0, [0, 0, 0, 0, 0, 0]), [regs.MBI_SUCCESS, 0, 0]);
  });
}
