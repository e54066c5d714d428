// Save and restore at any moment: what is in the chip, on its bus and in its targets goes on exactly.

import { assert, suite } from '../run/suite.ts';
import { Chip, DATA, PROGRAM, pattern, readTen, regs } from './chip.ts';

const test = suite('lsi53c895a: snapshots');
const IN = DATA + 0x100;
const OUT = DATA + 0x200;
const CDB = DATA + 0x300;
const STATUS = DATA + 0x400;
const BUFFER = DATA + 0x1000;

const PROGRAM_OF_TWO = `
  SELECT ATN 0, lost
  MOVE 5, ${OUT}, WHEN MSG_OUT
  MOVE 4, ${IN}, WHEN MSG_IN
  CLEAR ACK
  MOVE 10, ${CDB}, WHEN CMD
dispatch:
  JUMP msgin, WHEN MSG_IN
  JUMP datain, IF DATA_IN
  MOVE 1, ${STATUS}, WHEN STATUS
  JUMP msgin, WHEN MSG_IN
lost:
  INT 2
datain:
  CHMOV 333, ${BUFFER}, WHEN DATA_IN
  CHMOV 691, ${BUFFER + 333}, WHEN DATA_IN
  CHMOV 3072, ${BUFFER + 1024}, WHEN DATA_IN
  JUMP dispatch
msgin:
  MOVE 1, ${IN + 8}, WHEN MSG_IN
  JUMP leave, IF 4
  JUMP leave, IF 0
  CLEAR ACK
  JUMP dispatch
leave:
  MOVE SFBR TO SCRATCHA0
  MOVE SCNTL2 & 0x7f TO SCNTL2
  CLEAR ACK
  WAIT DISCONNECT
  MOVE SCRATCHA0 TO SFBR
  INT 1, IF 0
  WAIT RESELECT lost
  MOVE 1, ${IN + 9}, WHEN MSG_IN
  CLEAR ACK
  JUMP dispatch
`;

async function prepared(): Promise<Chip> {
  const chip = await Chip.create({ latencyNs: 30_000 });
  chip.clearAttention();
  chip.disk.write(0, pattern(4096, 6));
  chip.write(regs.LSI_SCNTL3, 0x0b);
  chip.bytes(OUT, [0xc0, 1, 2, 3, 1]);
  chip.bytes(CDB, readTen(0, 8));
  chip.load(PROGRAM_OF_TWO);
  return chip;
}

/** Everything that software sees: the registers, and what came. */
function state(chip: Chip): (number | string)[] {
  const registers = Array.from({ length: 56 }, (_, i) => chip.controller.read32(1, 4 * i));
  return [
    ...registers,
    chip.machine.now(),
    chip.line ? 1 : 0,
    chip.machine.memory.readBytes(BUFFER, 4096).join(),
  ];
}

test('a command is saved and restored after every step of time, in single steps of SCRIPTS too', async () => {
  for (const single of [false, true]) {
    const chip = await prepared();
    const { machine } = chip;
    if (single) chip.write(regs.LSI_DCNTL, regs.LSI_DCNTL_SSM | regs.LSI_DCNTL_COM);
    chip.write32(regs.LSI_DSP, PROGRAM);
    const saves = [machine.save()];
    const goOn = (): boolean => {
      if (single && (chip.read(regs.LSI_ISTAT0) & regs.LSI_ISTAT0_DIP) !== 0) {
        if ((chip.read(regs.LSI_DSTAT) & regs.LSI_DSTAT_SIR) !== 0) return false;
        chip.write(regs.LSI_DCNTL, regs.LSI_DCNTL_SSM | regs.LSI_DCNTL_STD | regs.LSI_DCNTL_COM);
      }
      return machine.nextDeadline() !== Number.POSITIVE_INFINITY;
    };
    while (goOn()) {
      machine.advance(machine.nextDeadline());
      saves.push(machine.save());
    }
    const end = state(chip);
    assert.equal(machine.memory.readBytes(BUFFER, 4096), pattern(4096, 6));
    assert.ok(saves.length > (single ? 20 : 4), `${saves.length}`);
    for (const save of saves) {
      machine.restore(save);
      while (goOn()) machine.advance(machine.nextDeadline());
      assert.equal(state(chip), end);
    }
  }
});
