// The SCSI bus: arbitration, selection and reselection in virtual time, messages, who may have how many commands, and
// what resets do ([2] SPI-2; SAM-3 for tasks).

import { assert, suite } from '../run/suite.ts';
import { Chip, DATA, MESSAGE, PROGRAM, pattern, readTen, regs, writeTen } from './chip.ts';

const test = suite('lsi53c895a: bus');
const IN = DATA + 0x100;
const OUT = DATA + 0x200;
const CDB = DATA + 0x300;
const STATUS = DATA + 0x400;

/** SCRIPTS that give a target messages, then stop with the phase that it wants next as the interrupt's number. */
function say(chip: Chip, messages: readonly number[], target = 0): number {
  chip.bytes(OUT, messages);
  chip.run(`
    SELECT ATN ${target}, lost
    MOVE SCNTL2 & 0x7f TO SCNTL2
    MOVE ${messages.length}, ${OUT}, WHEN MSG_OUT
  ${nextPhase()}
  lost: INT 0x99`);
  return chip.read32(regs.LSI_DSPS);
}

function nextPhase(): string {
  return `
    INT 7, WHEN MSG_IN
    INT 2, IF CMD
    INT 3, IF STATUS
    INT 6, IF MSG_OUT
    INT 1, IF DATA_IN
    INT 0, IF DATA_OUT`;
}

/** Goes on with more SCRIPTS in the same nexus. */
function goOn(chip: Chip, source: string): number {
  chip.run(source);
  return chip.read32(regs.LSI_DSPS);
}

/** Takes messages from the target; their bytes. */
function hear(chip: Chip, bytes: number): number[] {
  chip.run(`MOVE ${bytes}, ${IN}, WHEN MSG_IN\nINT 1`);
  return [...chip.machine.memory.readBytes(IN, bytes)];
}

test('selection: ATN, MESSAGE OUT, the lines of the bus, and who is connected', async () => {
  const chip = await Chip.create();
  chip.run(`SELECT ATN 0, lost\nINT 1, WHEN MSG_OUT\nlost: INT 2`);
  assert.is(chip.read32(regs.LSI_DSPS), 1);
  const lines = regs.LSI_SBCL_REQ | regs.LSI_SBCL_BSY | regs.LSI_SBCL_ATN | regs.LSI_PHASE_MESSAGE_OUT;
  assert.is(chip.read(regs.LSI_SBCL), lines);
  assert.is(chip.read(regs.LSI_SOCL), regs.LSI_SBCL_ATN);
  assert.is(chip.read(regs.LSI_SSTAT1) & 7, regs.LSI_PHASE_MESSAGE_OUT);
  assert.is(chip.read(regs.LSI_ISTAT0), regs.LSI_ISTAT0_CON);
  assert.is(chip.read(regs.LSI_SCNTL1), regs.LSI_SCNTL1_CON);
  assert.is(chip.read(regs.LSI_SCNTL2), regs.LSI_SCNTL2_SDU);
  assert.is(chip.read(regs.LSI_SDID), 0);
  assert.ok((chip.read(regs.LSI_SSTAT0) & regs.LSI_SSTAT0_WOA) !== 0);
  // Without ATN a target asks for the command.
  chip.setUp();
  assert.is(goOn(chip, `SELECT 0, lost\n${nextPhase()}\nlost: INT 9`), 2);
});

test('selection by a table entry loads SCNTL3 and SXFER', async () => {
  const chip = await Chip.create({ targets: [5] });
  chip.machine.memory.write32(DATA + 16, 0x9b05e800);
  chip.write32(regs.LSI_DSA, DATA);
  assert.is(goOn(chip, `SELECT ATN FROM 16, lost\nINT 1, WHEN MSG_OUT\nlost: INT 2`), 1);
  assert.equal(
    [chip.read(regs.LSI_SCNTL3), chip.read(regs.LSI_SXFER), chip.read(regs.LSI_SDID)],
    [0x9b, 0xe8, 5],
  );
});

test('nobody there: STO after STIME0, while SCRIPTS wait for the phase', async () => {
  const chip = await Chip.create();
  chip.load(`SELECT ATN 4, lost\nMOVE 0x55 TO SCRATCHA0\nINT 1, WHEN MSG_OUT\nlost: INT 2`);
  const from = chip.machine.now();
  chip.write32(regs.LSI_DSP, PROGRAM);
  chip.machine.advance(from + 100_000_000);
  assert.is(chip.read(regs.LSI_SCRATCHA), 0x55);
  assert.is(chip.read(regs.LSI_SBCL), regs.LSI_SBCL_SEL);
  chip.machine.settle();
  assert.is(chip.sist, 0x0400);
  assert.is(chip.read32(regs.LSI_DSP), PROGRAM + 24);
  assert.is(chip.machine.now() - from, 2400 + (144_650 << 11) + 200_000);
  // The own id is nobody either; with the timer off only the time to give up passes, which SeaBIOS relies on.
  chip.load(`SELECT ATN 7, lost\nINT 1, WHEN MSG_OUT\nlost: INT 2`);
  chip.go();
  assert.is(chip.sist, 0x0400);
  chip.write(regs.LSI_STIME0, 0);
  const begin = chip.machine.now();
  chip.go();
  assert.is(chip.sist, 0x0400);
  assert.is(chip.machine.now() - begin, 2400 + 200_000);
});

test('a second selection waits until the first has timed out', async () => {
  const chip = await Chip.create();
  chip.load('SELECT ATN 4, 0\nSELECT ATN 0, 0\nINT 1, WHEN MSG_OUT');
  chip.go();
  assert.is(chip.sist, 0x0400);
  assert.is(chip.read(regs.LSI_ISTAT0), 0);
  assert.is(chip.machine.nextDeadline(), Number.POSITIVE_INFINITY);
});

test('SCNTL0.START selects without SCRIPTS, and CMP ends it', async () => {
  const chip = await Chip.create();
  chip.write(regs.LSI_SIEN0, regs.LSI_SIST0_CMP);
  chip.write(regs.LSI_SDID, 0);
  chip.write(regs.LSI_SCNTL0, 0xc0 | regs.LSI_SCNTL0_START | regs.LSI_SCNTL0_WATN);
  chip.machine.settle();
  assert.is(chip.sist, regs.LSI_SIST0_CMP);
  assert.is(chip.read(regs.LSI_SCNTL0), 0xd0);
  assert.is(chip.read(regs.LSI_SBCL) & 0xf, regs.LSI_SBCL_ATN | regs.LSI_PHASE_MESSAGE_OUT);
});

test('a selection of SCNTL0.START that a bus reset ends leaves nothing behind', async () => {
  const chip = await Chip.create();
  chip.write(regs.LSI_SCNTL0, 0xc0 | regs.LSI_SCNTL0_START);
  chip.write(regs.LSI_SCNTL1, regs.LSI_SCNTL1_RST);
  chip.write(regs.LSI_SCNTL1, 0);
  assert.equal([chip.read(regs.LSI_SCNTL0), chip.sist], [0xc0, regs.LSI_SIST0_RST]);
  assert.is(chip.machine.nextDeadline(), Number.POSITIVE_INFINITY);
  chip.clearAttention();
  assert.is(chip.sist & regs.LSI_SIST0_CMP, 0);
});

test('messages: what targets answer, and which phase follows', async () => {
  const chip = await Chip.create();
  const after = (messages: readonly number[]): number => {
    chip.write(regs.LSI_SCNTL1, regs.LSI_SCNTL1_RST);
    chip.write(regs.LSI_SCNTL1, 0);
    void chip.sist;
    return say(chip, messages);
  };
  assert.is(after([0xc0]), 2);
  assert.is(after([0x80, 0x08]), 2);
  assert.is(after([0xc0, 0x20, 0x11]), 2);
  assert.is(after([0xc0, 0x20]), 6, 'the second byte is missing');
  for (const unknown of [0x04, 0x0b, 0x0f, 0x11, 0x13, 0x30]) {
    assert.is(after([0xc0, unknown]), 7);
    assert.equal(hear(chip, 1), [regs.MSG_REJECT]);
  }
  assert.is(after([0xc0, 0x2f, 0x00]), 7);
  assert.is(after([0xc0, 1, 2, 0x77, 0]), 7, 'an unknown extended message');
  assert.is(after([0xc0, 1, 3, 3, 1, 0]), 7, 'WDTR of another length');
  for (const leaving of [[0x06], [0xc0, 0x06], [0xc0, 0x0d], [0xc0, 0x0e], [0xc0, 0x0c], [0x0c]]) {
    chip.write(regs.LSI_SCNTL1, regs.LSI_SCNTL1_RST);
    chip.write(regs.LSI_SCNTL1, 0);
    void chip.sist;
    chip.bytes(OUT, leaving);
    chip.run(`SELECT ATN 0, 0\nINT 9, WHEN NOT MSG_OUT\nMOVE SCNTL2 & 0x7f TO SCNTL2
      MOVE ${leaving.length}, ${OUT}, WHEN MSG_OUT\nWAIT DISCONNECT\nINT 1`);
    assert.is(chip.read32(regs.LSI_DSPS), 1);
    assert.is(chip.read(regs.LSI_ISTAT0) & regs.LSI_ISTAT0_CON, 0);
  }
});

test('negotiation: SDTR, WDTR and PPR are answered with what both can do, in the middle of a command too', async () => {
  const chip = await Chip.create();
  assert.is(say(chip, [0xc0, 0x20, 1, 1, 3, 1, 8, 40]), 7);
  assert.equal(hear(chip, 5), [1, 3, 1, 10, 31]);
  assert.is(goOn(chip, `CLEAR ACK\n${nextPhase()}`), 2);
  chip.setUp();
  assert.is(say(chip, [0xc0, 1, 2, 3, 1]), 7);
  assert.equal(hear(chip, 4), [1, 2, 3, 1]);
  chip.setUp();
  assert.is(say(chip, [0xc0, 1, 6, 4, 9, 0, 62, 1, 2]), 7);
  assert.equal(hear(chip, 8), [1, 6, 4, 10, 0, 31, 1, 0]);
  // One byte at a time, ACK cleared in between; then a PARITY ERROR has it said again, a REJECT ends it.
  chip.setUp();
  assert.is(say(chip, [0xc0, 1, 2, 3, 0]), 7);
  assert.equal(hear(chip, 1), [1]);
  assert.is(goOn(chip, 'CLEAR ACK\nINT 7, WHEN MSG_IN'), 7);
  assert.is(chip.read(regs.LSI_SBDL), 2);
  assert.equal(hear(chip, 3), [2, 3, 0]);
  assert.is(chip.read(regs.LSI_SIDL), 0);
  assert.equal([chip.read(regs.LSI_SFBR), chip.read(regs.LSI_SBCL) & 0xc0], [2, regs.LSI_SBCL_ACK]);
  chip.bytes(OUT, [regs.MSG_PARITY_ERROR]);
  assert.is(goOn(chip, `SET ATN\nCLEAR ACK\nMOVE 1, ${OUT}, WHEN MSG_OUT\n${nextPhase()}`), 7);
  assert.equal(hear(chip, 4), [1, 2, 3, 0]);
  chip.bytes(OUT, [regs.MSG_REJECT]);
  assert.is(goOn(chip, `SET ATN\nCLEAR ACK\nMOVE 1, ${OUT}, WHEN MSG_OUT\n${nextPhase()}`), 2);
  const narrow = await Chip.create({ profile: 'lsi53c810' });
  assert.is(say(narrow, [0xc0, 1, 2, 3, 1]), 7);
  assert.equal(hear(narrow, 4), [1, 2, 3, 0]);
});

test('a target that may not disconnect keeps the bus; HTH watches it', async () => {
  const chip = await Chip.create({ latencyNs: 500_000 });
  chip.clearAttention();
  chip.write(regs.LSI_STIME0, 0x1c);
  const result = chip.execute({ cdb: readTen(0, 1), segments: [[DATA, 512]], disconnects: false });
  assert.equal([result.status, result.disconnects], [0, 0]);
  assert.is(chip.sist & 0x0100, 0x0100);
  chip.write(regs.LSI_STIME0, 0x5c);
  assert.is(chip.execute({ cdb: readTen(0, 1), segments: [[DATA, 512]], disconnects: false }).status, 0);
  assert.is(chip.sist & 0x0100, 0);
});

test('reselection: SSID, IDENTIFY with unit and tag, RSL posted but quiet; no answer, no reselection', async () => {
  const chip = await Chip.create({ targets: [2], latencyNs: 50_000 });
  chip.clearAttention(2);
  chip.bytes(OUT, [0xc0, 0x20, 0x37]);
  chip.bytes(CDB, readTen(0, 1));
  chip.write(regs.LSI_SCID, regs.LSI_HOST_ID);
  chip.load(`
    SELECT ATN 2, lost
    MOVE 3, ${OUT}, WHEN MSG_OUT
    MOVE 10, ${CDB}, WHEN CMD
    MOVE 1, ${IN}, WHEN MSG_IN
    MOVE SCNTL2 & 0x7f TO SCNTL2
    CLEAR ACK
    WAIT DISCONNECT
    WAIT RESELECT lost
    MOVE 3, ${IN + 1}, WHEN MSG_IN
    CLEAR ACK
    INT 1, WHEN DATA_IN
  lost: INT 2`);
  chip.go();
  assert.is(chip.machine.memory.read8(IN), regs.MSG_DISCONNECT);
  assert.is(chip.read(regs.LSI_ISTAT0), 0, 'SCID.RRE is clear');
  chip.write(regs.LSI_SCID, regs.LSI_SCID_RRE | regs.LSI_HOST_ID);
  chip.machine.settle();
  assert.equal([chip.read(regs.LSI_DSTAT) & 0x7f, chip.read32(regs.LSI_DSPS)], [regs.LSI_DSTAT_SIR, 1]);
  assert.is(chip.read(regs.LSI_SSID), regs.LSI_SSID_VAL | 2);
  assert.equal([...chip.machine.memory.readBytes(IN + 1, 3)], [0x80, 0x20, 0x37]);
  assert.is(chip.read(regs.LSI_STEST0) >>> 4, regs.LSI_HOST_ID);
  assert.is(chip.sist, regs.LSI_SIST0_RSL);
});

test('with its enable bit RSL stops SCRIPTS', async () => {
  const chip = await Chip.create({ latencyNs: 50_000 });
  chip.clearAttention();
  chip.bytes(OUT, [0xc0]);
  chip.bytes(CDB, readTen(0, 1));
  chip.write(regs.LSI_SIEN0, 0x8f | regs.LSI_SIST0_RSL);
  chip.load(`SELECT ATN 0, 0\nMOVE 1, ${OUT}, WHEN MSG_OUT\nMOVE 10, ${CDB}, WHEN CMD\nMOVE 1, ${IN}, WHEN MSG_IN
    MOVE SCNTL2 & 0x7f TO SCNTL2\nCLEAR ACK\nWAIT DISCONNECT\nWAIT RESELECT 0\nINT 1`);
  chip.go();
  assert.is(chip.sist, regs.LSI_SIST0_RSL);
  assert.is(chip.read(regs.LSI_ISTAT1) & regs.LSI_ISTAT1_SRUN, 0);
  assert.is(chip.read(regs.LSI_ISTAT0), regs.LSI_ISTAT0_CON);
});

test('WAIT DISCONNECT is over when another target has come between the end of the nexus and it', async () => {
  const chip = await Chip.create({ latencyNs: 3000, targets: [0, 1] });
  chip.clearAttention();
  chip.bytes(OUT, [0xc0]);
  chip.bytes(CDB, readTen(0, 1));
  chip.load(`
    SELECT ATN 0, lost
    MOVE 1, ${OUT}, WHEN MSG_OUT
    MOVE 10, ${CDB}, WHEN CMD
    MOVE 1, ${IN}, WHEN MSG_IN
    MOVE SCNTL2 & 0x7f TO SCNTL2
    CLEAR ACK
    MOVE MEMORY ${64 * 8000}, ${DATA + 0x1000}, ${DATA + 0x100000}
    WAIT DISCONNECT
    WAIT RESELECT lost
    INT 1, WHEN MSG_IN
  lost: INT 3`);
  chip.go();
  assert.is(chip.read32(regs.LSI_DSPS), 1);
  assert.is(chip.read(regs.LSI_ISTAT0) & regs.LSI_ISTAT0_CON, regs.LSI_ISTAT0_CON);
});

test('a target is faster: SELECT goes to its alternate address, whether it had begun or not', async () => {
  for (const nops of [0, 8000]) {
    const chip = await Chip.create({ latencyNs: 3000, targets: [0, 1] });
    chip.clearAttention();
    chip.bytes(OUT, [0xc0]);
    chip.bytes(CDB, readTen(0, 1));
    chip.load(`
      SELECT ATN 0, lost
      MOVE 1, ${OUT}, WHEN MSG_OUT
      MOVE 10, ${CDB}, WHEN CMD
      MOVE 1, ${IN}, WHEN MSG_IN
      MOVE SCNTL2 & 0x7f TO SCNTL2
      CLEAR ACK
      WAIT DISCONNECT
      MOVE MEMORY ${64 * nops + 4}, ${DATA + 0x1000}, ${DATA + 0x100000}
      NOP
      SELECT ATN 1, reselected
      INT 1, WHEN MSG_OUT
    reselected:
      INT 2, WHEN MSG_IN
    lost: INT 3`);
    chip.go();
    // 3 µs of medium and 2.4 of arbitration: the chip's own arbitration, begun before, ends first.
    assert.is(chip.read32(regs.LSI_DSPS), nops > 0 ? 2 : 1, `${nops}`);
    assert.is(chip.read(regs.LSI_SSTAT0) & regs.LSI_SSTAT0_LOA, 0);
  }
  // The medium is done at once: the target's arbitration began before the chip's.
  const chip = await Chip.create({ latencyNs: 0, targets: [0, 1] });
  chip.clearAttention();
  chip.bytes(OUT, [0xc0]);
  chip.bytes(CDB, readTen(0, 1));
  chip.load(`
    SELECT ATN 0, lost
    MOVE 1, ${OUT}, WHEN MSG_OUT
    MOVE 10, ${CDB}, WHEN CMD
    MOVE 1, ${IN}, WHEN MSG_IN
    INT 8
  second:
    MOVE SCNTL2 & 0x7f TO SCNTL2
    CLEAR ACK
    WAIT DISCONNECT
    SELECT ATN 1, reselected
    INT 1, WHEN MSG_OUT
  reselected:
    INT 2, WHEN MSG_IN
  lost: INT 3`);
  chip.go();
  assert.is(chip.read32(regs.LSI_DSPS), 8);
  chip.read(regs.LSI_DSTAT);
  chip.write32(regs.LSI_DSP, PROGRAM + 40);
  chip.machine.settle();
  assert.is(chip.read32(regs.LSI_DSPS), 2);
  assert.is(chip.read(regs.LSI_SSTAT0) & regs.LSI_SSTAT0_LOA, regs.LSI_SSTAT0_LOA);
  assert.is(chip.read(regs.LSI_SSID), regs.LSI_SSID_VAL);
});

test('an unexpected end of the nexus is UDC, in the middle of a block move as behind it', async () => {
  const chip = await Chip.create();
  chip.bytes(OUT, [0xc0, 0x06, 0x08, 0x08]);
  chip.load(`SELECT ATN 0, 0\nMOVE 4, ${OUT}, WHEN MSG_OUT\nINT 1`);
  chip.go();
  assert.is(chip.sist, regs.LSI_SIST0_UDC);
  assert.is(chip.read32(regs.LSI_DBC) & 0xffffff, 2);
  assert.is(chip.read(regs.LSI_ISTAT0), 0);
  chip.clearAttention();
  // A disk that is pulled out while it has the bus.
  chip.load(`SELECT ATN 0, 0\nWAIT RESELECT 0\nINT 1, WHEN MSG_OUT`);
  chip.go();
  chip.read(regs.LSI_DSTAT);
  chip.controller.detachDisk(0);
  assert.is(chip.sist, regs.LSI_SIST0_UDC);
});

test('a bus reset: RST, every command and agreement forgotten, a unit attention', async () => {
  const chip = await Chip.create({ latencyNs: 1_000_000, targets: [0, 1] });
  chip.clearAttention();
  chip.bytes(OUT, [0xc0]);
  chip.bytes(CDB, readTen(0, 1));
  chip.load(`SELECT ATN 0, 0\nMOVE 1, ${OUT}, WHEN MSG_OUT\nMOVE 10, ${CDB}, WHEN CMD\nMOVE 1, ${IN}, WHEN MSG_IN
    MOVE SCNTL2 & 0x7f TO SCNTL2\nCLEAR ACK\nWAIT DISCONNECT\nINT 1`);
  chip.go();
  chip.read(regs.LSI_DSTAT);
  chip.write(regs.LSI_SCNTL1, regs.LSI_SCNTL1_RST);
  assert.is(chip.read(regs.LSI_SSTAT0) & regs.LSI_SSTAT0_RST, regs.LSI_SSTAT0_RST);
  assert.equal([chip.read(regs.LSI_SBCL), chip.controller.read16(1, regs.LSI_SBDL)], [0, 0]);
  chip.write(regs.LSI_SCNTL1, 0);
  assert.is(chip.read(regs.LSI_SSTAT0) & regs.LSI_SSTAT0_RST, 0);
  assert.is(chip.sist & ~regs.LSI_SIST0_RSL, regs.LSI_SIST0_RST);
  assert.is(chip.machine.nextDeadline(), Number.POSITIVE_INFINITY);
  assert.is(chip.execute({ cdb: [0, 0, 0, 0, 0, 0] }).status, 2);
  const sense = chip.execute({ cdb: [3, 0, 0, 0, 18, 0], segments: [[DATA, 18]] });
  assert.equal([sense.status, sense.residual], [0, 0]);
  assert.is(chip.execute({ cdb: [0, 0, 0, 0, 0, 0] }).status, 0);
});

/** Commands that disconnect, one after the other, without looking at what becomes of them. */
function queue(
  chip: Chip,
  commands: readonly { messages: readonly number[]; cdb: readonly number[]; target?: number }[],
): number[] {
  return commands.map(({ messages, cdb, target = 0 }) => {
    chip.bytes(OUT, messages);
    chip.bytes(CDB, cdb);
    chip.load(`
      SELECT ATN ${target}, lost
      MOVE ${messages.length}, ${OUT}, WHEN MSG_OUT
      MOVE ${cdb.length}, ${CDB}, WHEN CMD
      INT 0x40, WHEN NOT MSG_IN
      MOVE 1, ${IN}, WHEN MSG_IN
      MOVE SCNTL2 & 0x7f TO SCNTL2
      CLEAR ACK
      WAIT DISCONNECT
      INT 0x41
    lost: INT 0x42`);
    chip.write32(regs.LSI_DSP, PROGRAM);
    chip.machine.advance(chip.machine.now() + 10_000);
    chip.read(regs.LSI_DSTAT);
    return chip.read32(regs.LSI_DSPS);
  });
}

/** In the nexus: the status and the end of the command; then the next reselection's tag, −1 when none comes. */
function finish(chip: Chip): { status: number; tag: number } {
  chip.load(`
    MOVE 1, ${STATUS}, WHEN STATUS
    MOVE 1, ${IN}, WHEN MSG_IN
    MOVE SCNTL2 & 0x7f TO SCNTL2
    CLEAR ACK
    WAIT DISCONNECT
    INT 1`);
  chip.write32(regs.LSI_DSP, PROGRAM);
  chip.machine.advance(chip.machine.now() + 1000);
  chip.read(regs.LSI_DSTAT);
  return { status: chip.machine.memory.read8(STATUS), tag: reselected(chip) };
}

function reselected(chip: Chip): number {
  chip.load(`WAIT RESELECT 0\nMOVE 3, ${IN}, WHEN MSG_IN\nCLEAR ACK\nINT 1`);
  chip.write32(regs.LSI_DSP, PROGRAM);
  // As far as the interrupt, not to where nothing is left to do: the disks work on.
  chip.machine.advance(chip.machine.now() + 2_000_000);
  const came = (chip.read(regs.LSI_DSTAT) & regs.LSI_DSTAT_SIR) !== 0;
  if (!came) {
    chip.write(regs.LSI_ISTAT0, regs.LSI_ISTAT0_ABRT);
    chip.write(regs.LSI_ISTAT0, 0);
    chip.read(regs.LSI_DSTAT);
    return -1;
  }
  return chip.machine.memory.read8(IN + 2);
}

const verify = [0x2f, 0, 0, 0, 0, 0, 0, 0, 1, 0];

test('several commands by tags: each comes back under its own; ordered ones wait, those behind too', async () => {
  const chip = await Chip.create({ latencyNs: 100_000 });
  chip.clearAttention();
  const tagged = (kind: number, tag: number) => ({ messages: [0xc0, kind, tag], cdb: verify });
  assert.equal(
    queue(chip, [tagged(0x20, 1), tagged(0x20, 2), tagged(0x22, 3), tagged(0x20, 4), tagged(0x21, 5)]),
    [0x41, 0x41, 0x41, 0x41, 0x41],
  );
  const order = [reselected(chip)];
  while ((order.at(-1) as number) >= 0) order.push(finish(chip).tag);
  // The head of the queue starts at once, the ordered one behind 1, 2 and not before 5 came, 4 behind it.
  assert.equal(order, [1, 2, 5, 3, 4, -1]);
});

test('FORMAT UNIT among tagged commands: those before it end, those behind it find 02/04/04 (SBC-2 5.2.1)', async () => {
  const chip = await Chip.create({ latencyNs: 1_000_000 });
  chip.clearAttention();
  chip.disk.write(0, new Uint8Array(4096).fill(7));
  const simple = (tag: number, cdb: readonly number[]) => ({ messages: [0xc0, 0x20, tag], cdb });
  const ready = [0, 0, 0, 0, 0, 0];
  assert.equal(queue(chip, [simple(1, verify), simple(2, [0x04, 0, 0, 0, 0, 0])]), [0x41, 0x41]);
  assert.equal(queue(chip, [simple(3, ready)]), [0x40]);
  assert.equal(finish(chip), { status: 2, tag: 1 });
  assert.equal(finish(chip), { status: 0, tag: 2 });
  assert.equal(finish(chip), { status: 0, tag: -1 });
  assert.equal(chip.disk.read(0, 4096), new Uint8Array(4096));
  // The sense data of what was refused are kept until the next command.
  assert.is(chip.execute({ cdb: [3, 0, 0, 0, 18, 0], segments: [[DATA, 18]] }).status, 0);
  const { memory } = chip.machine;
  assert.equal(
    [2, 12, 13].map((at) => memory.read8(DATA + at)),
    [0x02, 0x04, 0x04],
  );
  assert.is(chip.execute({ cdb: ready }).status, 0);
});

test('two commands of one name end both; different names do not', async () => {
  const chip = await Chip.create({ latencyNs: 1_000_000 });
  chip.clearAttention();
  const first = queue(chip, [
    { messages: [0xc0, 0x20, 1], cdb: verify },
    { messages: [0xc0], cdb: verify },
    { messages: [0xc0, 0x20, 1], cdb: verify },
  ]);
  assert.equal(first, [0x41, 0x41, 0x40]);
  assert.equal(finish(chip), { status: 2, tag: -1 });
  const sense = chip.execute({ cdb: [3, 0, 0, 0, 18, 0], segments: [[DATA, 18]] });
  assert.is(sense.status, 0);
  assert.equal([chip.machine.memory.read8(DATA + 2), chip.machine.memory.read8(DATA + 12)], [0x0b, 0x4e]);
});

test('the task set is full after 64: TASK SET FULL with a tag, BUSY without', async () => {
  const chip = await Chip.create({ latencyNs: 1_000_000_000 });
  const commands = Array.from({ length: 65 }, (_, tag) => ({ messages: [0xc0, 0x20, tag], cdb: verify }));
  chip.clearAttention();
  const results = queue(chip, commands);
  assert.equal(
    results.slice(0, 64),
    Array.from({ length: 64 }, () => 0x41),
  );
  assert.is(results[64], 0x40);
  chip.load(`MOVE 1, ${STATUS}, WHEN STATUS\nMOVE 1, ${IN}, WHEN MSG_IN\nMOVE SCNTL2 & 0x7f TO SCNTL2\nCLEAR ACK
    WAIT DISCONNECT\nINT 1`);
  chip.write32(regs.LSI_DSP, PROGRAM);
  chip.machine.advance(chip.machine.now() + 10_000);
  assert.is(chip.machine.memory.read8(STATUS), 0x28);
  chip.read(regs.LSI_DSTAT);
  assert.equal(queue(chip, [{ messages: [0xc0], cdb: verify }]), [0x40]);
});

test('ABORT, ABORT TAG, CLEAR QUEUE and BUS DEVICE RESET take back what they name', async () => {
  const chip = await Chip.create({ latencyNs: 1_000_000, targets: [0, 1] });
  chip.clearAttention(0);
  chip.clearAttention(1);
  const abort = (messages: readonly number[]): void => {
    chip.bytes(OUT, messages);
    chip.load(`SELECT ATN 0, 0\nINT 9, WHEN NOT MSG_OUT\nMOVE SCNTL2 & 0x7f TO SCNTL2
      MOVE ${messages.length}, ${OUT}, WHEN MSG_OUT\nWAIT DISCONNECT\nINT 1`);
    chip.write32(regs.LSI_DSP, PROGRAM);
    chip.machine.advance(chip.machine.now() + 10_000);
    assert.is(chip.read32(regs.LSI_DSPS), 1);
    chip.read(regs.LSI_DSTAT);
  };
  const three = (): void => {
    queue(chip, [
      { messages: [0xc0, 0x20, 1], cdb: verify },
      { messages: [0xc0, 0x20, 2], cdb: verify },
      { messages: [0xc0, 0x20, 3], cdb: verify, target: 1 },
    ]);
  };
  const rest = (): number[] => {
    const tags = [reselected(chip)];
    while ((tags.at(-1) as number) >= 0) tags.push(finish(chip).tag);
    return tags.slice(0, -1);
  };
  three();
  abort([0xc0, 0x20, 1, 0x0d]);
  assert.equal(rest(), [2, 3]);
  for (const code of [0x06, 0x0e, 0x0c]) {
    three();
    abort([0xc0, code]);
    assert.equal(rest(), [3], `0x${code.toString(16)}`);
  }
  assert.is(chip.execute({ cdb: [0, 0, 0, 0, 0, 0] }).status, 2, 'a reset target has a unit attention');
  assert.is(chip.execute({ target: 1, cdb: [0, 0, 0, 0, 0, 0] }).status, 0);
});

test('a refused DISCONNECT keeps the target on the bus', async () => {
  const chip = await Chip.create({ latencyNs: 50_000 });
  chip.clearAttention();
  chip.bytes(OUT, [0xc0]);
  chip.bytes(CDB, readTen(3, 1));
  chip.bytes(MESSAGE, [regs.MSG_REJECT]);
  chip.disk.write(3 * 512, pattern(512, 9));
  chip.run(`SELECT ATN 0, 0\nMOVE 1, ${OUT}, WHEN MSG_OUT\nMOVE 10, ${CDB}, WHEN CMD\nMOVE 1, ${IN}, WHEN MSG_IN
    SET ATN\nCLEAR ACK\nMOVE 1, ${MESSAGE}, WHEN MSG_OUT\nMOVE 512, ${DATA + 0x1000}, WHEN DATA_IN\nINT 3, WHEN STATUS`);
  assert.is(chip.read32(regs.LSI_DSPS), 3);
  assert.ok(chip.machine.memory.equals(DATA + 0x1000, pattern(512, 9)));
});

test('INITIATOR DETECTED ERROR ends the command as aborted', async () => {
  const chip = await Chip.create();
  chip.clearAttention();
  chip.bytes(OUT, [0x80]);
  chip.bytes(CDB, readTen(3, 1));
  chip.bytes(MESSAGE, [regs.MSG_INITIATOR_ERROR]);
  chip.run(`SELECT ATN 0, 0\nMOVE 1, ${OUT}, WHEN MSG_OUT\nMOVE 10, ${CDB}, WHEN CMD\nINT 9, WHEN NOT DATA_IN
    SET ATN\nMOVE 1, ${MESSAGE}, WHEN MSG_OUT\nMOVE 1, ${STATUS}, WHEN STATUS\nINT 1`);
  assert.equal([chip.read32(regs.LSI_DSPS), chip.machine.memory.read8(STATUS)], [1, 2]);
});

test('units: absent ones say so, and eight disks on one target are told apart', async () => {
  const chip = await Chip.create();
  const inquiry = (lun: number): number => {
    const result = chip.execute({ lun, cdb: [0x12, 0, 0, 0, 36, 0], segments: [[DATA, 36]] });
    assert.is(result.status, 0);
    return chip.machine.memory.read8(DATA);
  };
  assert.equal([inquiry(0), inquiry(1), inquiry(7), inquiry(33)], [0, 0x7f, 0x7f, 0x7f]);
  const second = chip.machine.addDisk({ bytes: 8192 });
  chip.controller.attach(second, 0, 5);
  assert.is(inquiry(5), 0);
  chip.clearAttention(0, 5);
  chip.machine.memory.writeBytes(DATA, pattern(512, 5));
  assert.is(
    chip.execute({ lun: 5, cdb: writeTen(1, 1), direction: 'out', segments: [[DATA, 512]] }).status,
    0,
  );
  assert.equal(second.read(512, 512), pattern(512, 5));
});

test('SeaBIOS and others leave ACK of the last message as it is: the next selection takes it back', async () => {
  const chip = await Chip.create();
  chip.clearAttention();
  chip.bytes(OUT, [0x80]);
  chip.bytes(CDB, [0, 0, 0, 0, 0, 0]);
  for (let i = 0; i < 3; i++) {
    chip.run(`SELECT ATN 0, lost\nMOVE 1, ${OUT}, WHEN MSG_OUT\nMOVE 6, ${CDB}, WHEN CMD
      MOVE 1, ${STATUS}, WHEN STATUS\nMOVE 1, ${IN}, WHEN MSG_IN\nINT 1\nlost: INT 2`);
    assert.equal([chip.read32(regs.LSI_DSPS), chip.sist & 0xff], [1, 0]);
    assert.is(chip.read(regs.LSI_ISTAT0), regs.LSI_ISTAT0_CON);
  }
});
