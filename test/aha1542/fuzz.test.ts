import * as regs from '../../assembly/aha1542/regs.ts';
import * as scsi from '../../assembly/scsi/regs.ts';
import { Random } from '../../src/kernel/random.ts';
import { assert, suite } from '../run/suite.ts';
import { Board, be24, CCBS, DATA, LISTS, MAILBOXES, pattern, rw10 } from './board.ts';

const test = suite('aha1542: fuzz');

const ACCESSES = 500_000;
/** Accesses between two checks that the board still works after a reset. */
const ROUND = 10_000;
const SEEDS = [1, 2];

/** A number that is often at an edge. */
function edgy(random: Random, bits: number): number {
  switch (random.below(5)) {
    case 0:
      return 0;
    case 1:
      return 2 ** bits - 1;
    case 2:
      return random.below(64);
    default:
      return random.below(2 ** bits);
  }
}

function randomCdb(random: Random): number[] {
  const length = random.below(8) === 0 ? random.below(17) : [6, 10, 12, 16][random.below(4)];
  const cdb = Array.from({ length: length ?? 6 }, () => (random.below(3) === 0 ? random.below(256) : 0));
  const known: readonly number[] = Object.entries(scsi).flatMap(([name, value]) =>
    name.startsWith('OP_') ? [value] : [],
  );
  if (random.below(6) > 0) cdb[0] = known[random.below(known.length)] ?? 0;
  if (random.below(4) > 0 && cdb.length > 0) cdb[cdb.length - 1] = 0;
  return cdb;
}

function randomCcb(board: Board, random: Random): void {
  const slot = random.below(16);
  const { memory } = board.machine;
  if (random.below(10) === 0) {
    const bytes = Uint8Array.from({ length: 34 }, () => random.below(256));
    memory.writeBytes(board.ccbAddress(slot), bytes);
    return;
  }
  const opcodes = [0, 0, 2, 2, 3, 4, 4, 1, 0x81, random.below(256)];
  const opcode = opcodes[random.below(opcodes.length)] ?? 0;
  const isList = opcode === 2 || opcode === 4;
  const segments = random.below(20);
  if (isList) {
    const list = Array.from({ length: segments }, () => ({
      address: random.below(4) === 0 ? edgy(random, 24) : DATA + random.below(0x10000),
      bytes: random.below(8) === 0 ? edgy(random, 24) : random.below(5000),
    }));
    board.writeList(list, LISTS + slot * 0x80);
  }
  const cdb = randomCdb(random);
  board.writeCcb(slot, {
    opcode,
    target: random.below(4) === 0 ? random.below(8) : 0,
    lun: random.below(8) === 0 ? random.below(8) : 0,
    direction: random.below(4),
    cdb,
    cdbLength: random.below(20) === 0 ? random.below(256) : cdb.length,
    senseLength: random.below(4) === 0 ? random.below(256) : 18,
    dataLength: isList ? segments * 6 + (random.below(20) === 0 ? 1 : 0) : edgy(random, 18),
    dataPointer: isList ? LISTS + slot * 0x80 : DATA + random.below(0x10000),
  });
}

function touchMemory(board: Board, random: Random): void {
  const { memory } = board.machine;
  if (random.below(3) > 0) randomCcb(board, random);
  const action = random.below(12) === 0 ? random.below(256) : 1 + (random.below(8 ** random.below(2)) % 2);
  const ccb = random.below(20) === 0 ? edgy(random, 24) : CCBS + random.below(16) * 0x100;
  memory.writeBytes(MAILBOXES + random.below(8) * 4, Uint8Array.of(action, ...be24(ccb)));
  // The in mailboxes are emptied now and then only.
  if (random.below(2) === 0) memory.fill(MAILBOXES + 32, 0, 32);
}

function touchPort(board: Board, random: Random): void {
  const { controller } = board;
  const at = random.below(4);
  switch (random.below(9)) {
    case 0:
      controller.read8(0, at);
      return;
    case 1:
      controller.read32(0, random.below(8));
      return;
    case 2:
      controller.write8(
        0,
        regs.PORT_CONTROL,
        random.below(200) === 0 ? random.below(256) : regs.CONTROL_IRST,
      );
      return;
    case 3:
      controller.write16(0, at, random.below(0x10000) & (random.below(40) === 0 ? 0xffff : 0xff2f));
      return;
    case 4:
      if (random.below(4) > 0) break;
      if (random.below(2) === 0) board.command([regs.CMD_MAILBOX_ENABLE, 0, random.below(2)]);
      for (const byte of [regs.CMD_MAILBOX_INIT, 8, ...be24(MAILBOXES)]) {
        controller.write8(0, regs.PORT_COMMAND, byte);
      }
      return;
    case 5:
      if (random.below(4) > 0) break;
      controller.write8(0, regs.PORT_COMMAND, random.below(4) === 0 ? random.below(256) : random.below(0x2a));
      return;
  }
  board.start();
}

function checkWorks(board: Board, seed: number): void {
  board.control(regs.CONTROL_HRST);
  board.machine.settle();
  assert.is(board.status, regs.STATUS_INIT | regs.STATUS_IDLE, `seed ${seed}`);
  board.setUp();
  board.execute({ cdb: [0, 0, 0, 0, 0, 0] });
  const bytes = pattern(4096, seed);
  const data = { dataLength: 4096, dataPointer: DATA };
  board.machine.memory.writeBytes(DATA, bytes);
  const write = board.execute({ ...data, direction: regs.DIRECTION_OUT, cdb: rw10(scsi.OP_WRITE_10, 8, 8) });
  assert.is(write.mail, regs.MBI_SUCCESS, `seed ${seed}`);
  board.machine.memory.fill(DATA, 0, 4096);
  const read = board.execute({ ...data, direction: regs.DIRECTION_IN, cdb: rw10(scsi.OP_READ_10, 8, 8) });
  assert.is(read.mail, regs.MBI_SUCCESS, `seed ${seed}`);
  assert.ok(board.machine.memory.equals(DATA, bytes), `seed ${seed}`);
}

for (const seed of SEEDS) {
  test(`${ACCESSES} accesses from seed ${seed}: no trap, no hang, and a reset heals`, async () => {
    const random = new Random(seed);
    const profile = seed % 2 === 0 ? 'aha1542b' : 'aha1542';
    const board = await Board.create({ profile, mailboxes: 8, guard: true, disk: { latencyNs: 2000 } });
    const { machine, disk } = board;
    machine.addFault({
      disk,
      kind: 'error',
      skip: 50,
      first: 40,
      last: 60,
      operations: ['read', 'write', 'verify'],
    });
    const before = board.controller.counters.commands;
    for (let access = 0; access < ACCESSES; access++) {
      if (random.below(3) === 0) touchMemory(board, random);
      touchPort(board, random);
      if (random.below(4) === 0) machine.advance(machine.now() + random.below(20_000));
      if (random.below(100) === 0) machine.advance(machine.now() + 1e9);
      if (access % ROUND === ROUND - 1) checkWorks(board, seed);
    }
    const { commands, completions } = board.controller.counters;
    assert.ok(commands - before > ACCESSES / 20, `only ${commands - before} commands`);
    assert.ok(completions > (commands - before) / 4, `only ${completions} completions`);
  });
}
