import * as regs from '../../assembly/aha1542/regs.ts';
import * as scsi from '../../assembly/scsi/regs.ts';
import { assert, suite } from '../run/suite.ts';
import { ascOf, Board, DATA, pattern, rw10 } from './board.ts';

const test = suite('aha1542: resets');

const READ = {
  cdb: rw10(scsi.OP_READ_10, 0, 4),
  direction: regs.DIRECTION_IN,
  dataLength: 2048,
  dataPointer: DATA,
};

/** A board in the middle of a read, another one queued behind it, and a selection of nobody. */
async function busy(): Promise<Board> {
  const board = await Board.create({ mailboxes: 8, disk: { latencyNs: 1e6 } });
  board.disk.write(0, pattern(2048));
  board.post(board.writeCcb(0, READ));
  board.post(board.writeCcb(1, READ));
  board.post(board.writeCcb(2, { ...READ, target: 5 }));
  board.start();
  board.machine.advance(board.machine.now() + 1000);
  return board;
}

/** Nothing of the old commands shows any more, and new ones work. */
function checkFresh(board: Board): void {
  board.machine.settle();
  assert.is(board.takeMail(), null);
  assert.is(board.outcome(0, 0).host, 0xee);
  assert.is(board.machine.memory.read8(DATA + 5), 0);
}

function checkWorks(board: Board): void {
  const attention = board.execute(READ);
  assert.is(attention.target, scsi.STATUS_CHECK_CONDITION);
  assert.is(ascOf(attention.sense), scsi.ASC_RESET);
  assert.is(board.execute(READ).mail, regs.MBI_SUCCESS);
  assert.ok(board.machine.memory.equals(DATA, pattern(2048)));
}

test('a hard reset in mid-transfer runs the self-test and forgets all', async () => {
  const board = await busy();
  board.control(regs.CONTROL_HRST);
  assert.is(board.status, regs.STATUS_STST);
  board.start();
  assert.is(board.status, regs.STATUS_STST, 'bytes at the port are lost meanwhile');
  board.machine.settle();
  assert.is(board.status, regs.STATUS_INIT | regs.STATUS_IDLE);
  assert.is(board.interrupts, 0);
  checkFresh(board);
  board.setUp();
  checkWorks(board);
});

test('drivers that reset a board set up its mailboxes without unlocking: only power locks them', async () => {
  const board = await Board.create();
  const initialise = (): number => {
    for (const byte of [regs.CMD_MAILBOX_INIT, 4, 0, 0x10, 0]) {
      board.controller.write8(0, regs.PORT_COMMAND, byte);
    }
    const { status } = board;
    board.control(regs.CONTROL_IRST);
    return status;
  };
  board.control(regs.CONTROL_HRST | regs.CONTROL_SCRST);
  board.machine.settle();
  assert.is(initialise(), regs.STATUS_IDLE);
  for (const kind of ['power-on', 'bus'] as const) {
    board.controller.reset(kind);
    board.machine.settle();
    assert.is(initialise(), regs.STATUS_IDLE | regs.STATUS_INIT | regs.STATUS_INVDCMD);
    board.setUp();
  }
});

test('a soft reset in mid-transfer is over at once and leaves the bus alone', async () => {
  const board = await busy();
  board.control(regs.CONTROL_SRST | regs.CONTROL_IRST);
  assert.is(board.status, regs.STATUS_INIT | regs.STATUS_IDLE);
  assert.is(board.interrupts, 0);
  checkFresh(board);
  board.setUp();
  assert.is(board.execute(READ).mail, regs.MBI_SUCCESS, 'no unit attention');
});

test('a bus reset in mid-transfer drops the commands without mail and says SCRD', async () => {
  const board = await busy();
  board.control(regs.CONTROL_SCRST);
  assert.is(board.interrupts, regs.INTERRUPT_ANY | regs.INTERRUPT_SCRD);
  assert.is(board.status, regs.STATUS_IDLE, 'the mailboxes stay');
  checkFresh(board);
  board.control(regs.CONTROL_IRST);
  checkWorks(board);
});

test('a soft reset gives up a command of which half the parameters are written', async () => {
  const board = await Board.create({ ready: false });
  board.controller.write8(0, regs.PORT_COMMAND, regs.CMD_MAILBOX_INIT);
  board.controller.write8(0, regs.PORT_COMMAND, 4);
  assert.is(board.status & regs.STATUS_IDLE, 0);
  board.control(regs.CONTROL_SRST);
  assert.equal(board.command([regs.CMD_ECHO, 1], 1), [1]);
});

test('BUS DEVICE RESET drops the commands of its target alone', async () => {
  const board = await Board.create({ mailboxes: 8, disk: { latencyNs: 1e6 } });
  const other = board.machine.addDisk({ bytes: 64 * 1024, latencyNs: 1e6 });
  board.controller.attach(other, 1);
  board.execute({ target: 1 });
  board.post(board.writeCcb(0, READ));
  board.post(board.writeCcb(1, { ...READ, target: 1 }));
  board.post(board.writeCcb(2, { opcode: regs.OPCODE_DEVICE_RESET, target: 0 }));
  board.start();
  assert.equal(board.takeMail(), { mail: regs.MBI_SUCCESS, ccb: board.ccbAddress(2) });
  board.machine.settle();
  assert.equal(board.takeMail(), { mail: regs.MBI_SUCCESS, ccb: board.ccbAddress(1) });
  assert.is(board.takeMail(), null);
  assert.is(ascOf(board.execute(READ).sense), scsi.ASC_RESET);
});

test('BUS DEVICE RESET to nobody is a selection timeout', async () => {
  const board = await Board.create();
  const outcome = board.execute({ opcode: regs.OPCODE_DEVICE_RESET, target: 4 });
  assert.equal([outcome.mail, outcome.host], [regs.MBI_ERROR, regs.HOST_SELECTION_TIMEOUT]);
});
