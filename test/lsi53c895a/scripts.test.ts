// The SCRIPTS processor: every instruction but block moves and what the bus takes part in; how it starts, stops and
// refuses ([1] chapter 5, and DSTAT.IID).

import { Random } from '../../src/kernel/random.ts';
import { assert, suite } from '../run/suite.ts';
import { Chip, DATA, HIGH, HOLE, PROGRAM, regs, TABLE } from './chip.ts';

const test = suite('lsi53c895a: scripts');
const { LSI_DSTAT_IID: IID, LSI_DSTAT_SIR: SIR, LSI_DSTAT_BF: BF, LSI_DSTAT_SSI: SSI } = regs;

/** Runs words as they are. */
function runWords(chip: Chip, words: readonly number[]): number {
  for (const [i, word] of words.entries()) chip.machine.memory.write32(PROGRAM + 4 * i, word >>> 0);
  chip.go();
  return chip.read(regs.LSI_DSTAT) & ~regs.LSI_DSTAT_DFE;
}

test('read/write: each operator, from SFBR, to SFBR and in place, against arithmetic', async () => {
  const chip = await Chip.create();
  const random = new Random(3);
  for (let i = 0; i < 2000; i++) {
    const [value, sfbr, data] = [random.below(256), random.below(256), random.below(256)];
    const [operator, opcode, carry, useSfbr] = [
      random.below(8),
      5 + random.below(3),
      random.below(2),
      random.below(2),
    ];
    const at = random.below(2) === 0 ? regs.LSI_SCRATCHA + 1 : regs.LSI_PMJAD1 + 2;
    chip.write(at, value);
    const instruction =
      0x40000000 |
      (opcode << 27) |
      (operator << 24) |
      (useSfbr << 23) |
      ((at & 0x7f) << 16) |
      (data << 8) |
      (at & 0x80);
    const dstat = runWords(
      chip,
      [
        0x72340000 | ((regs.LSI_SCRATCHB & 0x7f) << 16),
        0,
        carry === 1 ? 0x58000400 : 0x60000400,
        0,
        instruction,
        0,
        0x98280000,
        1,
        0x98080000,
        2,
      ].map((word, index) => (index === 0 ? (0x70000000 | (sfbr << 8) | (0x34 << 16)) >>> 0 : word)),
    );
    assert.is(dstat, SIR);
    const left = opcode === 5 ? sfbr : value;
    const right = useSfbr === 1 ? sfbr : data;
    const results = [right, (left << 1) | carry, left | right, left ^ right, left & right];
    results.push((left >> 1) | (carry << 7), left + right, left + right + carry);
    const carries = [
      carry,
      left >> 7,
      carry,
      carry,
      carry,
      left & 1,
      (left + right) >> 8,
      (left + right + carry) >> 8,
    ];
    const result = (results[operator] as number) & 0xff;
    const place = opcode === 6 ? regs.LSI_SFBR : at;
    assert.is(chip.read(place), result, `operator ${operator}, opcode ${opcode}`);
    assert.is(chip.read32(regs.LSI_DSPS) === 1 ? 1 : 0, carries[operator], `carry of operator ${operator}`);
  }
});

test('transfer control: jumps, calls, returns, comparisons with data and masks, the carry, distances', async () => {
  const chip = await Chip.create();
  assert.is(
    chip.run('JUMP over\nINT 1\nover: CALL sub\nINT 2, IF NOT 0x42\nINT 3\nsub: MOVE 0x42 TO SFBR\nRETURN'),
    SIR,
  );
  assert.is(chip.read32(regs.LSI_DSPS), 3);
  assert.is(chip.read32(regs.LSI_TEMP), PROGRAM + 24);
  const taken = (condition: string, sfbr: number): boolean => {
    chip.run(`MOVE ${sfbr} TO SFBR\nJUMP REL(yes), ${condition}\nINT 0\nyes: INT 1`);
    return chip.read32(regs.LSI_DSPS) === 1;
  };
  assert.equal(
    [taken('IF 0x20', 0x20), taken('IF 0x20', 0x21), taken('IF NOT 0x20', 0x21)],
    [true, false, true],
  );
  assert.equal([taken('IF 0x20 AND MASK 0x0f', 0x2c), taken('IF 0x20 AND MASK 0x0f', 0x3c)], [true, false]);
  // Both comparisons: both true, or for NOT both false. Without a nexus the latched phase is DATA OUT.
  assert.equal([taken('IF DATA_OUT AND 1', 1), taken('IF DATA_OUT AND 1', 2)], [true, false]);
  assert.equal([taken('IF NOT DATA_IN OR 1', 2), taken('IF NOT DATA_IN OR 1', 1)], [true, false]);
  chip.run('SET CARRY\nINT 1, IF CARRY\nINT 2');
  assert.is(chip.read32(regs.LSI_DSPS), 1);
  chip.run('SET CARRY\nCLEAR CARRY\nINT 1, IF CARRY\nINT 2, IF NOT CARRY\nINT 3');
  assert.is(chip.read32(regs.LSI_DSPS), 2);
  chip.run('NOP\nINT 7');
  assert.is(chip.read32(regs.LSI_DSPS), 7);
  chip.run('JUMP REL(over)\nINT 1\nover: INT 2');
  assert.is(chip.read32(regs.LSI_ADDER), PROGRAM + 16);
});

test('64-bit addresses: SFS, JUMP64, MMRS, MMWS and DRS; DDAC keeps to 32 bits', async () => {
  const chip = await Chip.create();
  const { memory } = chip.machine;
  memory.write32(HIGH + 0x1000, 0x98080000);
  memory.write32(HIGH + 0x1004, 0x55);
  assert.is(chip.run('JUMP64 1:0x1000'), SIR);
  assert.equal([chip.read32(regs.LSI_DSPS), chip.read32(regs.LSI_SFS)], [0x55, 1]);
  chip.write32(regs.LSI_SFS, 0);
  assert.is(runWords(chip, [0x80400000, 0x1000, 1, 0x98080000, 9]), SIR);
  assert.is(chip.read32(regs.LSI_DSPS), 9, 'a JUMP64 that is not taken skips its third word');
  memory.write32(DATA, 0x01020304);
  chip.write32(regs.LSI_MMWS, 1);
  chip.run(`MOVE MEMORY 4, ${DATA}, 0x2000\nINT 1`);
  assert.is(memory.read32(HIGH + 0x2000), 0x01020304);
  chip.write32(regs.LSI_MMRS, 1);
  chip.run('LOAD SCRATCHA, 4, 0x2000\nINT 1');
  assert.is(chip.read32(regs.LSI_SCRATCHA), 0x01020304);
  chip.write32(regs.LSI_DRS, 1);
  chip.write32(regs.LSI_DSA, 0x3000);
  chip.run('STORE SCRATCHA, 4, DSAREL(-4)\nINT 1');
  assert.is(memory.read32(HIGH + 0x2ffc), 0x01020304);
  chip.write(regs.LSI_CCNTL1, regs.LSI_CCNTL1_DDAC);
  memory.write32(0x2000, 77);
  chip.run('LOAD SCRATCHA, 4, 0x2000\nINT 1');
  assert.is(chip.read32(regs.LSI_SCRATCHA), 77);
});

test('memory moves: memory, on-chip RAM, the own registers by their bus address and by port', async () => {
  const chip = await Chip.create();
  const { memory, bus } = chip.machine;
  memory.writeBytes(
    DATA,
    Uint8Array.from({ length: 5000 }, (_, i) => i * 7),
  );
  assert.is(chip.run(`MOVE MEMORY 5000, ${DATA}, ${chip.ramBase + 0x100}\nINT 1`), SIR);
  assert.is(bus.readMemory(chip.ramBase + 0x100 + 4999, 1), (4999 * 7) & 0xff);
  assert.is(chip.run(`MOVE MEMORY 3000, ${chip.ramBase + 0x100}, ${DATA + 0x4000}\nINT 1`), SIR);
  assert.is(memory.read8(DATA + 0x4000 + 2999), (2999 * 7) & 0xff);
  memory.write32(DATA, 0xdeadbeef);
  chip.write32(regs.LSI_TEMP, 0x1111);
  assert.is(chip.run(`MOVE MEMORY 4, ${DATA}, ${chip.memoryBase + regs.LSI_SCRATCHA}\nINT 1`), SIR);
  assert.equal([chip.read32(regs.LSI_SCRATCHA), chip.read32(regs.LSI_TEMP)], [0xdeadbeef, 0x1111]);
  assert.is(chip.run(`MOVE MEMORY 1, ${chip.memoryBase + regs.LSI_SCRATCHA}, ${DATA + 8}\nINT 1`), SIR);
  assert.is(memory.read8(DATA + 8), 0xef);
  // Registers to registers: SIST is read, and so cleared.
  chip.write(regs.LSI_STIME1, 1);
  chip.machine.settle();
  const from = chip.memoryBase + regs.LSI_SIST0;
  chip.run(`MOVE MEMORY 2, ${from}, ${chip.memoryBase + regs.LSI_SCRATCHA + 2}\nINT 1`);
  assert.equal([chip.read32(regs.LSI_SCRATCHA) >>> 16, chip.sist], [0x0200, 0]);
  const ports = chip.controller.configRead(0x10, 4) - 1;
  chip.write(regs.LSI_DMODE, regs.LSI_DMODE_DIOM);
  assert.is(chip.run(`MOVE MEMORY 4, ${DATA}, ${ports + regs.LSI_SCRATCHB}\nINT 1`), SIR);
  chip.write(regs.LSI_DMODE, regs.LSI_DMODE_SIOM);
  assert.is(chip.run(`MOVE MEMORY 4, ${ports + regs.LSI_SCRATCHB}, ${DATA + 16}\nINT 1`), SIR);
  assert.is(memory.read32(DATA + 16), 0xdeadbeef);
  assert.is(chip.run(`MOVE MEMORY 4, 0x100, ${DATA + 16}\nINT 1`), BF, 'no other port answers');
});

test('a memory move that stops the chip stops; one that writes DSP goes on there', async () => {
  const chip = await Chip.create();
  const { memory } = chip.machine;
  memory.write32(DATA, PROGRAM + 0x100);
  memory.write32(PROGRAM + 0x100, 0x98080000);
  memory.write32(PROGRAM + 0x104, 0x66);
  assert.is(chip.run(`MOVE MEMORY 4, ${DATA}, ${chip.memoryBase + regs.LSI_DSP}\nINT 1`), SIR);
  assert.is(chip.read32(regs.LSI_DSPS), 0x66);
  memory.write8(DATA, regs.LSI_ISTAT0_ABRT);
  chip.run(`MOVE MEMORY 1, ${DATA}, ${chip.memoryBase + regs.LSI_ISTAT0}\nINT 1`);
  assert.is(chip.read(regs.LSI_ISTAT1) & regs.LSI_ISTAT1_SRUN, 0);
  chip.write(regs.LSI_ISTAT0, 0);
  chip.read(regs.LSI_DSTAT);
  memory.write8(DATA, regs.LSI_ISTAT0_SRST);
  chip.run(`MOVE MEMORY 1, ${DATA}, ${chip.memoryBase + regs.LSI_ISTAT0}\nINT 1`);
  assert.equal([chip.read(regs.LSI_ISTAT0), chip.read32(regs.LSI_DSP)], [regs.LSI_ISTAT0_SRST, 0]);
});

test('load and store: one to four bytes, absolute and by DSA', async () => {
  const chip = await Chip.create();
  const { memory } = chip.machine;
  memory.writeBytes(
    TABLE,
    Uint8Array.from({ length: 16 }, (_, i) => 0x10 + i),
  );
  chip.write32(regs.LSI_DSA, TABLE + 8);
  assert.is(
    chip.run(
      `LOAD SCRATCHA, 4, DSAREL(-8)\nLOAD SCRATCHB1, 2, ${TABLE + 5}\nLOAD SCRATCHC3, 1, DSAREL(3)\nINT 1`,
    ),
    SIR,
  );
  assert.equal(
    [chip.read32(regs.LSI_SCRATCHA), chip.read32(regs.LSI_SCRATCHB), chip.read32(regs.LSI_SCRATCHC)],
    [0x13121110, 0x00161500, 0x1b000000],
  );
  assert.is(chip.run(`STORE SCRATCHA2, 2, ${TABLE + 0x42}\nSTORE SCRATCHA, 4, DSAREL(0x40)\nINT 1`), SIR);
  assert.is(memory.read32(TABLE + 0x40), 0x13120000);
  assert.is(memory.read32(TABLE + 0x48), 0x13121110);
});

test('what is no instruction is illegal, and DSP is behind it', async () => {
  const chip = await Chip.create();
  const words: readonly (readonly [string, ...number[]])[] = [
    ['a block move of no bytes', 0x08000000, DATA],
    ['direct and indirect at once', 0x38000001, DATA],
    ['a block move without a nexus', 0x08000001, DATA],
    ['transfer control, opcode 4', 0xa0080000, 0],
    ['the carry with data', 0x802c0000, 0],
    ['the carry with a phase', 0x802a0000, 0],
    ['a 64-bit call', 0x88480000, 0, 0],
    ['ATN with WAIT DISCONNECT', 0x49000000, 0],
    ['ATN with SET', 0x59000008, 0],
    ['a memory move with reserved bits', 0xc2000004, DATA, DATA + 4],
    ['a memory move across alignments', 0xc0000004, DATA, DATA + 5],
    ['a memory move of no bytes', 0xc0000000, DATA, DATA + 4],
    ['load with reserved bits', 0xe5340004, DATA],
    ['load of no bytes', 0xe1340000, DATA],
    ['load of five bytes', 0xe1340005, DATA],
    ['load across a register', 0xe1360003, DATA + 2],
    ['load to another alignment', 0xe1340001, DATA + 1],
    ['store to the own registers', 0xe0340004, chip.memoryBase + 0x60],
  ];
  for (const [what, ...program] of words) {
    assert.is(runWords(chip, program), IID, what);
    assert.is(chip.read(regs.LSI_ISTAT0), 0);
  }
  assert.is(runWords(chip, [0x60000040, 0, 0xa0080000, 5]), IID);
  assert.is(chip.read32(regs.LSI_DSP), PROGRAM + 16);
  // As a target: phases cannot be waited for, and ATN is what a phase comparison looks at.
  assert.is(chip.run('SET TARGET\nMOVE 1, 0x1000, WITH DATA_IN'), IID);
  assert.is(runWords(chip, [0x830b0000, 0]), IID);
  assert.is(chip.run('INT 1, IF ATN\nINT 2'), SIR);
  assert.is(chip.read32(regs.LSI_DSPS), 2);
  assert.is(chip.read(regs.LSI_SCNTL0) & regs.LSI_SCNTL0_TRG, regs.LSI_SCNTL0_TRG);
  assert.is(chip.run('CLEAR TARGET\nINT 1'), SIR);
  assert.is(chip.read(regs.LSI_SCNTL0) & regs.LSI_SCNTL0_TRG, 0);
});

test('an old chip knows neither load, store nor 64-bit jumps', async () => {
  const chip = await Chip.create({ profile: 'lsi53c810' });
  assert.is(runWords(chip, [0xe1340004, DATA]), IID);
  assert.is(runWords(chip, [0x80480000, 0, 0]), IID);
});

test('bus fault: where no memory is, for instructions, tables, data and with bus mastering off', async () => {
  const chip = await Chip.create();
  chip.go(HOLE);
  assert.is(chip.read(regs.LSI_DSTAT) & ~regs.LSI_DSTAT_DFE, BF);
  assert.is(chip.run(`LOAD SCRATCHA, 4, ${HOLE}`), BF);
  assert.is(chip.run(`STORE SCRATCHA, 4, ${HOLE}`), BF);
  assert.is(chip.run(`MOVE MEMORY 4, ${HOLE}, ${DATA}`), BF);
  assert.is(chip.run(`MOVE MEMORY 4, ${DATA}, ${HOLE}`), BF);
  chip.write32(regs.LSI_DSA, HOLE);
  assert.is(chip.run('SELECT FROM 0, 0'), BF);
  assert.is(chip.run('MOVE FROM 0, WHEN DATA_IN'), BF);
  assert.is(chip.run(`MOVE 1, PTR ${HOLE}, WHEN DATA_IN`), BF);
  // Registers of the chip itself are no memory for instructions.
  chip.go(chip.memoryBase);
  assert.is(chip.read(regs.LSI_DSTAT) & ~regs.LSI_DSTAT_DFE, BF);
  chip.load('INT 1');
  chip.controller.configWrite(4, 2, 3);
  chip.go();
  assert.is(chip.read(regs.LSI_DSTAT) & ~regs.LSI_DSTAT_DFE, BF);
});

test('single step: an interrupt behind each instruction; DCNTL.STD goes on', async () => {
  const chip = await Chip.create();
  chip.write(regs.LSI_DCNTL, regs.LSI_DCNTL_SSM | regs.LSI_DCNTL_COM);
  chip.load('MOVE 1 TO SCRATCHA0\nMOVE 2 TO SCRATCHA0\nINT 1');
  chip.go();
  assert.equal([chip.read(regs.LSI_DSTAT) & 0x7f, chip.read(regs.LSI_SCRATCHA)], [SSI, 1]);
  assert.is(chip.read32(regs.LSI_DSP), PROGRAM + 8);
  chip.write(regs.LSI_DCNTL, regs.LSI_DCNTL_SSM | regs.LSI_DCNTL_STD | regs.LSI_DCNTL_COM);
  chip.machine.settle();
  assert.equal([chip.read(regs.LSI_DSTAT) & 0x7f, chip.read(regs.LSI_SCRATCHA)], [SSI, 2]);
  assert.is(chip.read(regs.LSI_DCNTL) & regs.LSI_DCNTL_STD, 0);
});

test('DMODE.MAN: DSP alone starts nothing', async () => {
  const chip = await Chip.create();
  chip.write(regs.LSI_DMODE, regs.LSI_DMODE_MAN);
  chip.load('INT 1');
  chip.go();
  assert.is(chip.read(regs.LSI_ISTAT0), 0);
  chip.write(regs.LSI_DCNTL, regs.LSI_DCNTL_STD | regs.LSI_DCNTL_COM);
  chip.machine.settle();
  assert.is(chip.read(regs.LSI_ISTAT0), regs.LSI_ISTAT0_DIP);
});

test('a program that never ends gives time to the CPU, and is stopped at its bound and reported', async () => {
  const chip = await Chip.create({ guard: true });
  const { machine } = chip;
  chip.load('here: MOVE SCRATCHA0 + 1 TO SCRATCHA0\nJUMP here');
  chip.write32(regs.LSI_DSP, PROGRAM);
  const from = machine.now();
  machine.advance(from + 1_000_000);
  assert.is(machine.now(), from + 1_000_000);
  assert.is(chip.read(regs.LSI_ISTAT0), 0);
  machine.settle();
  assert.is(chip.read(regs.LSI_DSTAT) & 0x7f, regs.LSI_DSTAT_ABRT);
  // 2^20 instructions of 100 ns, 512 at a time, since the last look at a register.
  assert.is(machine.now() - from, 1_024_000 + 2047 * 51_200);
  const rules = machine.guard.findings().map(({ rule }) => rule);
  assert.ok(rules.includes('desc-loop'));
});

test('a program that waits for the CPU sees what that writes', async () => {
  const chip = await Chip.create();
  chip.machine.memory.write8(DATA, 0);
  chip.load(`here: LOAD SCRATCHA, 1, ${DATA}\nMOVE SCRATCHA0 TO SFBR\nJUMP here, IF 0\nINT 0x31`);
  chip.write32(regs.LSI_DSP, PROGRAM);
  chip.machine.advance(chip.machine.now() + 5_000_000);
  assert.is(chip.read(regs.LSI_ISTAT0), 0);
  chip.machine.memory.write8(DATA, 1);
  chip.machine.settle();
  assert.equal([chip.read(regs.LSI_DSTAT) & 0x7f, chip.read32(regs.LSI_DSPS)], [SIR, 0x31]);
});

test('WAIT RESELECT and WAIT SELECT go elsewhere when the CPU signals, before or while they wait', async () => {
  const chip = await Chip.create();
  for (const wait of ['WAIT RESELECT', 'SET TARGET\nWAIT SELECT']) {
    chip.load(`${wait} signal\nINT 1\nsignal: CLEAR TARGET\nINT 2`);
    chip.go();
    assert.is(chip.read(regs.LSI_ISTAT0), 0);
    chip.write(regs.LSI_ISTAT0, regs.LSI_ISTAT0_SIGP);
    chip.machine.settle();
    assert.equal([chip.read(regs.LSI_DSTAT) & 0x7f, chip.read32(regs.LSI_DSPS)], [SIR, 2]);
    chip.go();
    assert.equal([chip.read(regs.LSI_DSTAT) & 0x7f, chip.read32(regs.LSI_DSPS)], [SIR, 2]);
    chip.read(regs.LSI_CTEST2);
  }
});
