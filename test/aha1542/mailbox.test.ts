import * as regs from '../../assembly/aha1542/regs.ts';
import * as scsi from '../../assembly/scsi/regs.ts';
import { assert, suite } from '../run/suite.ts';
import { Board, CCBS, DATA, MAILBOXES, rw10 } from './board.ts';

const test = suite('aha1542: mailboxes');

const TUR = { cdb: [0, 0, 0, 0, 0, 0] };
const read = (lba: number) => ({
  cdb: rw10(scsi.OP_READ_10, lba, 1),
  direction: regs.DIRECTION_IN,
  dataLength: 512,
  dataPointer: DATA + lba * 512,
});

test('one START SCSI takes every mailbox in order and frees each', async () => {
  const board = await Board.create({ mailboxes: 8 });
  for (let i = 0; i < 8; i++) board.post(board.writeCcb(i, read(i)));
  board.start();
  for (let i = 0; i < 8; i++) assert.is(board.machine.memory.read8(MAILBOXES + 4 * i), regs.MBO_FREE);
  board.machine.settle();
  for (let i = 0; i < 8; i++) {
    assert.equal(board.takeMail(), { mail: regs.MBI_SUCCESS, ccb: board.ccbAddress(i) });
  }
  assert.is(board.takeMail(), null);
});

test('both rounds wrap, with a single mailbox and with 255', async () => {
  for (const mailboxes of [1, 3, 255]) {
    const board = await Board.create({ mailboxes, profile: 'aha1542b' });
    for (let i = 0; i < 600; i++) assert.is(board.execute(TUR).mail, regs.MBI_SUCCESS);
    assert.is(board.nextOut, 601 % mailboxes);
  }
});

test('the board finds mail anywhere, the next place first', async () => {
  const board = await Board.create({ mailboxes: 4 });
  const first = board.nextOut;
  board.writeCcb(0, TUR);
  board.writeCcb(1, TUR);
  board.nextOut = (first + 3) % 4;
  board.post(board.ccbAddress(0));
  board.nextOut = (first + 1) % 4;
  board.post(board.ccbAddress(1));
  board.start();
  assert.is(board.takeMail()?.ccb, board.ccbAddress(1));
  assert.is(board.takeMail()?.ccb, board.ccbAddress(0));
});

test('an action that is none of the three ends with host status 15h', async () => {
  const board = await Board.create();
  board.post(board.writeCcb(0, TUR), 3);
  board.start();
  assert.is(board.takeMail()?.mail, regs.MBI_ERROR);
  assert.is(board.outcome(0, 0).host, regs.HOST_BAD_MAILBOX);
});

test('a full in mailbox holds results back until it is emptied, none is lost', async () => {
  const board = await Board.create({ mailboxes: 2 });
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 2; i++) board.post(board.writeCcb(2 * round + i, TUR));
    board.start();
  }
  board.machine.settle();
  const seen = [];
  for (let i = 0; i < 6; i++) {
    const mail = board.takeMail();
    seen.push(mail?.ccb);
    assert.is(mail?.mail, regs.MBI_SUCCESS);
    board.control(regs.CONTROL_IRST);
  }
  assert.equal(
    seen,
    [0, 1, 2, 3, 4, 5].map((slot) => board.ccbAddress(slot)),
  );
});

test('a host that only polls memory gets held-back results in virtual time', async () => {
  const board = await Board.create({ mailboxes: 1 });
  board.post(board.writeCcb(0, TUR));
  board.start();
  board.post(board.writeCcb(1, TUR));
  board.start();
  assert.is(board.takeMail()?.ccb, board.ccbAddress(0));
  assert.is(board.takeMail(), null);
  board.machine.advance(board.machine.now() + 1e9);
  board.machine.advance(board.machine.now() + 1e9);
  assert.is(board.takeMail()?.ccb, board.ccbAddress(1));
});

test('more commands than the board keeps wait in their mailboxes', async () => {
  const board = await Board.create({ mailboxes: 100, profile: 'aha1542b', disk: { latencyNs: 1000 } });
  const { memory } = board.machine;
  board.writeCcb(0, TUR);
  board.writeCcb(1, read(0));
  for (let i = 0; i < 100; i++) board.post(board.ccbAddress(1));
  board.start();
  const waiting = (): number =>
    Array.from({ length: 100 }, (_, i) => memory.read8(MAILBOXES + 4 * i)).filter((action) => action !== 0)
      .length;
  assert.is(waiting(), 100 - regs.SLOTS);
  board.machine.settle();
  assert.is(waiting(), 0);
  let count = 0;
  while (board.takeMail() !== null) count++;
  assert.is(count, 100);
});

test('MBOE tells of each mailbox that was taken, once it is enabled', async () => {
  const board = await Board.create();
  board.controller.write8(0, regs.PORT_COMMAND, regs.CMD_ENABLE_MBOE);
  board.controller.write8(0, regs.PORT_COMMAND, 1);
  assert.is(board.interrupts, 0, 'ends without HACC');
  board.post(board.writeCcb(0, read(0)));
  board.start();
  assert.is(board.interrupts, regs.INTERRUPT_ANY | regs.INTERRUPT_MBOE);
  board.machine.settle();
  assert.is(board.interrupts, regs.INTERRUPT_ANY | regs.INTERRUPT_MBOE | regs.INTERRUPT_MBIF);
  board.controller.write8(0, regs.PORT_COMMAND, regs.CMD_ENABLE_MBOE);
  board.controller.write8(0, regs.PORT_COMMAND, 2);
  assert.is(board.status & regs.STATUS_INVDCMD, regs.STATUS_INVDCMD);
});

test('MBIF waits while HACC stands, and raises the line anew', async () => {
  const board = await Board.create();
  board.post(board.writeCcb(0, read(0)));
  board.start();
  board.controller.write8(0, regs.PORT_COMMAND, regs.CMD_NOP);
  board.machine.settle();
  assert.is(board.interrupts, regs.INTERRUPT_ANY | regs.INTERRUPT_HACC);
  const { interrupts } = board.controller.counters;
  board.control(regs.CONTROL_IRST);
  assert.is(board.interrupts, regs.INTERRUPT_ANY | regs.INTERRUPT_MBIF);
  assert.is(board.controller.counters.interrupts, interrupts + 1);
});

test('an abort of a running command ends it with 02, of an unknown one answers 03', async () => {
  const board = await Board.create({ disk: { latencyNs: 1e6 } });
  const before = board.disk.counters.reads;
  const at = board.writeCcb(0, read(0));
  board.post(at);
  board.start();
  assert.is(board.status & regs.STATUS_IDLE, 0);
  board.post(at, regs.MBO_ABORT);
  board.start();
  assert.equal(board.takeMail(), { mail: regs.MBI_ABORTED, ccb: at });
  board.machine.settle();
  assert.is(board.takeMail(), null, 'no second mail');
  assert.is(board.disk.counters.reads, before + 1);
  assert.is(board.outcome(0, 0).host, 0xee, 'the CCB is not written');
  board.post(CCBS + 0x5000, regs.MBO_ABORT);
  board.start();
  assert.equal(board.takeMail(), { mail: regs.MBI_NOT_FOUND, ccb: CCBS + 0x5000 });
  assert.is(board.status & regs.STATUS_IDLE, regs.STATUS_IDLE);
});

test('a command to a unit that is busy waits, and an abort finds it there', async () => {
  const board = await Board.create({ disk: { latencyNs: 1e6 }, mailboxes: 8 });
  for (let i = 0; i < 3; i++) board.post(board.writeCcb(i, read(i)));
  board.start();
  board.post(board.ccbAddress(1), regs.MBO_ABORT);
  board.start();
  assert.equal(board.takeMail(), { mail: regs.MBI_ABORTED, ccb: board.ccbAddress(1) });
  board.machine.settle();
  assert.is(board.takeMail()?.ccb, board.ccbAddress(0));
  assert.is(board.takeMail()?.ccb, board.ccbAddress(2));
});

test('an in mailbox beyond the 24th line is written at the truncated address, and the guard tells', async () => {
  const board = await Board.create({ profile: 'aha1542b', ready: false, guard: { mappings: false } });
  const { memory, guard } = board.machine;
  memory.write32(0, 0);
  // The out mailbox is where no RAM is: it reads as ones, which is no action, from a CCB at FFFFFFh.
  board.command([regs.CMD_MAILBOX_INIT, 1, 0xff, 0xff, 0xfc]);
  board.start();
  assert.equal([...memory.readBytes(0, 4)], [regs.MBI_ERROR, 0xff, 0xff, 0xff]);
  const finding = guard
    .findings()
    .find(({ rule, address }) => rule === 'dev-truncated' && address === 2 ** 24);
  assert.is(finding?.driven, 0);
  assert.ok(guard.findings().some(({ rule, driven }) => rule === 'dev-hole' && driven === 0xfffffc));
});

test('without tags a unit takes one command at a time, several units work at once', async () => {
  const board = await Board.create({ disk: { latencyNs: 1e6, picosecondsPerByte: 0 }, mailboxes: 8 });
  const other = board.machine.addDisk({ bytes: 4096, latencyNs: 1e6, picosecondsPerByte: 0 });
  board.controller.attach(other, 1);
  board.execute({ ...TUR, target: 1 });
  for (let i = 0; i < 3; i++) board.post(board.writeCcb(i, read(i)));
  board.post(board.writeCcb(3, { ...read(0), target: 1 }));
  board.start();
  const start = board.machine.now();
  const ends: [slot: number, ms: number][] = [];
  while (ends.length < 4) {
    board.machine.advance(board.machine.nextDeadline());
    for (let mail = board.takeMail(); mail !== null; mail = board.takeMail()) {
      ends.push([(mail.ccb - CCBS) / 0x100, (board.machine.now() - start) / 1e6]);
    }
    board.control(regs.CONTROL_IRST);
  }
  assert.equal(ends, [
    [0, 1],
    [3, 1],
    [1, 2],
    [2, 3],
  ]);
});
