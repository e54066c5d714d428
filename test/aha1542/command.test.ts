import * as regs from '../../assembly/aha1542/regs.ts';
import { assert, suite } from '../run/suite.ts';
import { Board, be24, DATA, MAILBOXES } from './board.ts';

const test = suite('aha1542: command port');

const { INTERRUPT_ANY, INTERRUPT_HACC } = regs;

/** Writes bytes at the command port and nothing else. */
function write(board: Board, ...bytes: number[]): void {
  for (const byte of bytes) board.controller.write8(0, regs.PORT_COMMAND, byte);
}

function readData(board: Board): number {
  return board.controller.read8(0, regs.PORT_DATA);
}

test('NOP completes with HACC and leaves the board idle', async () => {
  const board = await Board.create({ ready: false });
  assert.is(board.status, regs.STATUS_INIT | regs.STATUS_IDLE);
  write(board, regs.CMD_NOP);
  assert.is(board.interrupts, INTERRUPT_ANY | INTERRUPT_HACC);
  assert.is(board.machine.irqLines, 1 << 11);
  board.control(regs.CONTROL_IRST);
  assert.is(board.interrupts, 0);
  assert.is(board.machine.irqLines, 0);
});

test('an answer shows DF, and HACC only after its last byte', async () => {
  const board = await Board.create({ ready: false });
  write(board, regs.CMD_INQUIRY);
  const answer = [];
  for (let i = 0; i < 4; i++) {
    assert.is(board.status & (regs.STATUS_DF | regs.STATUS_IDLE), regs.STATUS_DF);
    assert.is(board.interrupts, 0);
    answer.push(readData(board));
  }
  assert.equal(answer, [regs.BOARD_1542CF, 0x30, 0x30, 0x31]);
  assert.is(board.status & regs.STATUS_DF, 0);
  assert.is(board.interrupts, INTERRUPT_ANY | INTERRUPT_HACC);
});

test('an unknown command sets INVDCMD until the interrupt is reset', async () => {
  const board = await Board.create({ ready: false });
  for (const command of [0x0e, 0x30, 0x82, 0xff, regs.CMD_START_BIOS]) {
    write(board, command);
    assert.is(board.status & regs.STATUS_INVDCMD, regs.STATUS_INVDCMD);
    assert.is(board.interrupts, INTERRUPT_ANY | INTERRUPT_HACC);
    board.control(regs.CONTROL_IRST);
    assert.is(board.status, regs.STATUS_INIT | regs.STATUS_IDLE);
  }
});

test('START SCSI before the mailboxes are set up is an invalid command', async () => {
  const board = await Board.create({ ready: false });
  board.start();
  assert.is(board.status & regs.STATUS_INVDCMD, regs.STATUS_INVDCMD);
});

test('mailboxes of a CF stay locked until they get their code back', async () => {
  const board = await Board.create({ ready: false });
  const init = [regs.CMD_MAILBOX_INIT, 4, ...be24(MAILBOXES)];
  write(board, ...init);
  assert.is(board.status & (regs.STATUS_INVDCMD | regs.STATUS_INIT), regs.STATUS_INVDCMD | regs.STATUS_INIT);
  board.control(regs.CONTROL_IRST);
  assert.equal(board.command([regs.CMD_EXTENDED_BIOS], 2), [8, 1]);
  write(board, regs.CMD_MAILBOX_ENABLE, 0, 9);
  assert.is(board.status & regs.STATUS_INVDCMD, regs.STATUS_INVDCMD);
  board.command([regs.CMD_MAILBOX_ENABLE, 0, 1]);
  assert.equal(board.command([regs.CMD_EXTENDED_BIOS], 2), [8, 0]);
  write(board, ...init);
  assert.is(board.status, regs.STATUS_IDLE);
  board.command([regs.CMD_MAILBOX_ENABLE, 1, 0]);
  assert.equal(board.command([regs.CMD_EXTENDED_BIOS], 2), [8, 1]);
});

test('a B knows no command above 21h and nothing at its fourth port', async () => {
  const board = await Board.create({ profile: 'aha1542b', ready: false });
  for (let command = 0x22; command < 0x30; command++) {
    write(board, command);
    assert.is(board.status & regs.STATUS_INVDCMD, regs.STATUS_INVDCMD, `command ${command.toString(16)}`);
    board.control(regs.CONTROL_IRST);
  }
  assert.is(board.controller.read8(0, regs.PORT_SIGNATURE), 0xff);
  assert.equal(board.command([regs.CMD_INQUIRY], 4), [regs.BOARD_1542B, 0x30, 0x30, 0x35]);
});

test('a CF answers its signature letter by letter', async () => {
  const board = await Board.create({ ready: false });
  const letters = Array.from({ length: 5 }, () => board.controller.read8(0, regs.PORT_SIGNATURE) ^ 1);
  assert.is(String.fromCharCode(...letters), 'ADAPA');
});

test('no mailboxes at all are refused', async () => {
  const board = await Board.create({ profile: 'aha1542b', ready: false });
  write(board, regs.CMD_MAILBOX_INIT, 0, 0, 0x10, 0);
  assert.is(board.status & regs.STATUS_INVDCMD, regs.STATUS_INVDCMD);
});

test('configuration data name DMA channel, interrupt and id', async () => {
  const board = await Board.create({ ready: false });
  assert.equal(board.command([regs.CMD_CONFIGURATION], 3), [1 << 5, 1 << (11 - 9), 7]);
});

test('setup data show bus times, speed, mailboxes; lengths 0 is 256', async () => {
  const board = await Board.create();
  board.command([regs.CMD_BUS_ON, 7]);
  board.command([regs.CMD_BUS_OFF, 9]);
  board.command([regs.CMD_SPEED, 2]);
  board.command([regs.CMD_OPTIONS, 1, 0x5a]);
  board.command([regs.CMD_BIOS_MAILBOX_INIT, 1, ...be24(0x123456)]);
  const setup = board.command([regs.CMD_SETUP_DATA, 44], 44);
  assert.equal(setup.slice(0, 8), [3, 2, 7, 9, 4, ...be24(MAILBOXES)]);
  assert.is(setup[regs.SETUP_AT_DISCONNECT], 0x5a);
  assert.equal(setup.slice(regs.SETUP_AT_BIOS_MAILBOX), be24(0x123456));
  write(board, regs.CMD_SETUP_DATA, 0);
  for (let i = 0; i < 255; i++) readData(board);
  assert.is(board.status & regs.STATUS_DF, regs.STATUS_DF);
  readData(board);
  assert.is(board.status & regs.STATUS_DF, 0);
});

test('bus times outside their range are refused', async () => {
  const board = await Board.create({ ready: false });
  for (const [command, value] of [
    [regs.CMD_BUS_ON, 1],
    [regs.CMD_BUS_ON, 16],
    [regs.CMD_BUS_OFF, 65],
  ] as const) {
    write(board, command, value);
    assert.is(board.status & regs.STATUS_INVDCMD, regs.STATUS_INVDCMD);
    board.control(regs.CONTROL_IRST);
  }
});

test('installed devices are a bit a unit, eight targets', async () => {
  const board = await Board.create({ ready: false });
  board.controller.attach(board.machine.addDisk({ bytes: 4096 }), 3, 2);
  assert.equal(board.command([regs.CMD_INSTALLED_DEVICES], 8), [1, 0, 0, 4, 0, 0, 0, 0]);
});

test('the buffer and the FIFO keep what DMA put there', async () => {
  const board = await Board.create({ ready: false });
  const { memory } = board.machine;
  for (const [writes, reads, bytes] of [
    [regs.CMD_WRITE_BUFFER, regs.CMD_READ_BUFFER, regs.BUFFER_BYTES],
    [regs.CMD_WRITE_FIFO, regs.CMD_READ_FIFO, regs.FIFO_BYTES],
  ] as const) {
    const data = Uint8Array.from({ length: bytes + 1 }, (_, i) => i * 3 + writes);
    memory.writeBytes(DATA, data);
    memory.fill(DATA + 256, 0xcc, 100);
    board.command([writes, ...be24(DATA)]);
    board.command([reads, ...be24(DATA + 256)]);
    assert.ok(memory.equals(DATA + 256, data, 0, bytes));
    assert.is(memory.read8(DATA + 256 + bytes), 0xcc);
  }
});

test('echo answers its parameter', async () => {
  const board = await Board.create({ ready: false });
  assert.equal(board.command([regs.CMD_ECHO, 0xa5], 1), [0xa5]);
});

test('the EEPROM keeps what is programmed, and refuses what lies behind it', async () => {
  const board = await Board.create({ ready: false });
  const data = Array.from({ length: 32 }, (_, i) => 0x40 + i);
  board.command([regs.CMD_WRITE_EEPROM, 0, 8, 4, ...data]);
  assert.equal(board.command([regs.CMD_READ_EEPROM, 0, 9, 4], 9), [...data.slice(0, 8), 0]);
  write(board, regs.CMD_READ_EEPROM, 0, 30, 3);
  assert.is(board.status & regs.STATUS_INVDCMD, regs.STATUS_INVDCMD);
});

test('shadow RAM and the BIOS banks are switched without an answer', async () => {
  const board = await Board.create({ ready: false });
  for (const command of [[regs.CMD_SHADOW_RAM, 3], [regs.CMD_BIOS_BANK_1], [regs.CMD_BIOS_BANK_2]]) {
    write(board, ...command);
    assert.is(board.interrupts, INTERRUPT_ANY | INTERRUPT_HACC);
    assert.is(board.status & regs.STATUS_INVDCMD, 0);
    board.control(regs.CONTROL_IRST);
  }
});

test('the diagnostic command resets the board and reports at the end of the self-test', async () => {
  const board = await Board.create();
  write(board, regs.CMD_DIAGNOSTIC);
  assert.is(board.status, regs.STATUS_STST);
  assert.is(board.interrupts, 0);
  board.machine.settle();
  assert.is(board.status, regs.STATUS_INIT | regs.STATUS_IDLE);
  assert.is(board.interrupts, INTERRUPT_ANY | INTERRUPT_HACC);
  assert.equal(board.command([regs.CMD_EXTENDED_BIOS], 2), [8, 0], 'the mailboxes stay unlocked');
});

test('a command drops what was not read of the answer before it', async () => {
  const board = await Board.create({ ready: false });
  write(board, regs.CMD_CONFIGURATION);
  readData(board);
  assert.equal(board.command([regs.CMD_ECHO, 0x11], 1), [0x11]);
});

test('a wide access is two narrow ones', async () => {
  const board = await Board.create({ ready: false });
  write(board, regs.CMD_ECHO);
  board.controller.write16(0, regs.PORT_CONTROL, 0x7700);
  assert.is(board.controller.read16(0, regs.PORT_STATUS), 0x7700 | regs.STATUS_DF | regs.STATUS_INIT);
});
