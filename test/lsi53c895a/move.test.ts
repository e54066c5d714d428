// Block moves: how they find their data, odd bytes on a wide bus, phase mismatches, media that fail ([1] 5.2, 2.2.18
// and the phase mismatch registers of 4.4).

import type { Profile } from '../../src/controllers/index.ts';
import { lsi53c895a } from '../../src/controllers/index.ts';
import { assert, suite } from '../run/suite.ts';
import { Chip, DATA, HIGH, HOLE, PROGRAM, pattern, readTen, regs, TABLE, writeTen } from './chip.ts';

const test = suite('lsi53c895a: block moves');
const IN = DATA + 0x100;
const OUT = DATA + 0x200;
const CDB = DATA + 0x300;
const STATUS = DATA + 0x400;
const BUFFER = DATA + 0x1000;

/** A nexus in its data phase: a command without leave to disconnect, the medium at work at once, sector `bad` of it not. */
async function nexus(
  cdb: readonly number[],
  wide = false,
  profile: string | Profile = 'lsi53c895a',
  bad?: number,
): Promise<Chip> {
  const chip = await Chip.create({ profile });
  if (bad !== undefined) chip.machine.addFault({ disk: chip.disk, kind: 'error', first: bad, last: bad });
  chip.clearAttention();
  chip.disk.write(0, pattern(8192, 1));
  if (wide) chip.write(regs.LSI_SCNTL3, 0x0b);
  chip.bytes(OUT, wide ? [0x80, 1, 2, 3, 1] : [0x80]);
  chip.bytes(CDB, cdb);
  const agree = wide ? `MOVE 4, ${IN}, WHEN MSG_IN\nCLEAR ACK` : '';
  chip.run(`SELECT ATN 0, 0\nMOVE ${wide ? 5 : 1}, ${OUT}, WHEN MSG_OUT\n${agree}
    MOVE ${cdb.length}, ${CDB}, WHEN CMD\nINT 1, WHEN DATA_IN\nINT 2, IF DATA_OUT\nINT 3`);
  return chip;
}

const disk = pattern(8192, 1);
const memory = (chip: Chip, at: number, n: number): Uint8Array => chip.machine.memory.readBytes(at, n);

test('direct, indirect and by table, with the address in DNAD and the count in DBC', async () => {
  const chip = await nexus(readTen(0, 4));
  assert.is(chip.run(`MOVE 100, ${BUFFER}, WHEN DATA_IN\nINT 1`), regs.LSI_DSTAT_SIR);
  assert.equal(
    [chip.read32(regs.LSI_DNAD), chip.read32(regs.LSI_SBC), chip.read32(regs.LSI_CSBC)],
    [BUFFER + 100, 100, 100],
  );
  assert.is(chip.read32(regs.LSI_IA), PROGRAM);
  chip.machine.memory.write32(TABLE, BUFFER + 100);
  assert.is(chip.run(`MOVE 200, PTR ${TABLE}, WHEN DATA_IN\nINT 1`), regs.LSI_DSTAT_SIR);
  chip.machine.memory.write32(TABLE - 8, 0xff00_0100);
  chip.machine.memory.write32(TABLE - 4, BUFFER + 300);
  chip.write32(regs.LSI_DSA, TABLE);
  assert.is(chip.run('MOVE FROM -8, WHEN DATA_IN\nINT 1'), regs.LSI_DSTAT_SIR);
  assert.equal([chip.read32(regs.LSI_ESA), chip.read32(regs.LSI_CSBC)], [TABLE - 8, 556]);
  assert.equal(memory(chip, BUFFER, 556), disk.subarray(0, 556));
  assert.is(chip.read(regs.LSI_SFBR), disk[300], 'the first byte of an asynchronous phase');
});

test('64-bit moves: SBMS, DBMS with EN64DBMV, 40 bits and selectors in tables', async () => {
  const chip = await nexus(readTen(0, 8));
  let from = 0;
  const check = (source: string, at: number, bytes: number): void => {
    assert.is(chip.run(`${source}\nINT 1`), regs.LSI_DSTAT_SIR, source);
    assert.equal(memory(chip, at, bytes), disk.subarray(from, from + bytes), source);
    from += bytes;
  };
  const entry = (high: number, bytes: number, address: number): void => {
    chip.machine.memory.write32(TABLE, (high << 24) | bytes);
    chip.machine.memory.write32(TABLE + 4, address);
    chip.write32(regs.LSI_DSA, TABLE);
  };
  chip.write32(regs.LSI_SBMS, 1);
  check('MOVE 16, 0x1000, WHEN DATA_IN', HIGH + 0x1000, 16);
  chip.write32(regs.LSI_SBMS, 0);
  chip.write(regs.LSI_CCNTL1, regs.LSI_CCNTL1_EN64DBMV);
  check('MOVE64 16, 1:0x2000, WHEN DATA_IN', HIGH + 0x2000, 16);
  assert.equal([chip.read32(regs.LSI_DBMS), chip.read32(regs.LSI_DNAD64)], [1, 1]);
  chip.write(regs.LSI_CCNTL1, regs.LSI_CCNTL1_EN64TIBMV | regs.LSI_CCNTL1_TIMOD);
  entry(1, 16, 0x3000);
  check('MOVE FROM 0, WHEN DATA_IN', HIGH + 0x3000, 16);
  chip.write(regs.LSI_CCNTL1, regs.LSI_CCNTL1_EN64TIBMV);
  const registers = [
    regs.LSI_SCRATCHC,
    regs.LSI_SCRATCHC + 4,
    regs.LSI_SCRATCHR,
    regs.LSI_MMRS,
    regs.LSI_DBMS,
  ];
  for (const [i, selector] of [0, 1, 15, 16, 21].entries()) {
    chip.write32(registers[i] as number, 1);
    entry(0xe0 + selector, 16, 0x4000 + 0x100 * i);
    check('MOVE FROM 0, WHEN DATA_IN', HIGH + 0x4000 + 0x100 * i, 16);
    chip.write32(registers[i] as number, 0);
  }
  entry(22, 16, 0x3000);
  assert.is(chip.run('MOVE FROM 0, WHEN DATA_IN'), regs.LSI_DSTAT_IID);
});

test('data may go to the RAM for SCRIPTS; where no memory is it is a bus fault', async () => {
  const chip = await nexus(readTen(0, 2));
  assert.is(chip.run(`MOVE 64, ${chip.ramBase + 0x40}, WHEN DATA_IN\nINT 1`), regs.LSI_DSTAT_SIR);
  assert.is(chip.machine.bus.readMemory(chip.ramBase + 0x40 + 63, 1), disk[63]);
  assert.is(chip.run(`MOVE 64, ${HOLE}, WHEN DATA_IN\nINT 1`), regs.LSI_DSTAT_BF);
  assert.is(chip.run(`MOVE 64, ${chip.memoryBase}, WHEN DATA_IN\nINT 1`), regs.LSI_DSTAT_BF);
});

test('an address counts 32 bits: the move wraps inside its upper half', async () => {
  const chip = await nexus(readTen(0, 1));
  chip.write32(regs.LSI_SBMS, 1);
  // No memory ends at 8 GiB, so the first half faults, and the second is seen at 4 GiB.
  assert.is(chip.run('MOVE 32, 0xfffffff0, WHEN DATA_IN\nINT 1'), regs.LSI_DSTAT_BF);
  assert.equal(memory(chip, HIGH, 16), disk.subarray(16, 32));
});

test('24 address lines: data goes to the truncated address, and the guard says so', async () => {
  const chip = await Chip.create({ profile: 'lsi53c895a-24lines', guard: true });
  chip.clearAttention();
  chip.disk.write(0, disk);
  chip.write32(regs.LSI_SBMS, 1);
  chip.machine.memory.fill(BUFFER, 0, 512);
  chip.write32(regs.LSI_SBMS, 0);
  const result = chip.execute({ cdb: readTen(0, 1), segments: [[BUFFER + 0x0100_0000, 512]] });
  assert.is(result.status, 0);
  assert.equal(memory(chip, BUFFER, 512), disk.subarray(0, 512));
  assert.ok(chip.machine.guard.findings().some(({ rule }) => rule === 'dev-truncated'));
});

test('odd bytes on a wide bus: SWIDE and WSR in, SODL and WSS out, by chained moves', async () => {
  const chip = await nexus(readTen(0, 4), true);
  assert.equal([...memory(chip, IN, 4)], [1, 2, 3, 1]);
  assert.is(chip.run(`CHMOV 101, ${BUFFER}, WHEN DATA_IN\nINT 1`), regs.LSI_DSTAT_SIR);
  assert.is(chip.read(regs.LSI_SCNTL2) & regs.LSI_SCNTL2_WSR, regs.LSI_SCNTL2_WSR);
  assert.equal([chip.read(regs.LSI_SWIDE), chip.read32(regs.LSI_SBC)], [disk[101], 102]);
  assert.is(chip.run(`CHMOV 1, ${BUFFER + 101}, WHEN DATA_IN\nINT 1`), regs.LSI_DSTAT_SIR);
  assert.is(chip.read(regs.LSI_SCNTL2) & regs.LSI_SCNTL2_WSR, 0);
  assert.is(
    chip.run(`CHMOV 33, ${BUFFER + 102}, WHEN DATA_IN\nCHMOV 40, ${BUFFER + 135}, WHEN DATA_IN\nINT 1`),
    regs.LSI_DSTAT_SIR,
  );
  assert.equal(memory(chip, BUFFER, 175), disk.subarray(0, 175));
  // A plain move loses what SWIDE has: byte 175 never comes.
  assert.is(chip.run(`MOVE 10, ${BUFFER + 175}, WHEN DATA_IN\nINT 1`), regs.LSI_DSTAT_SIR);
  assert.equal(memory(chip, BUFFER + 175, 10), disk.subarray(176, 186));

  const out = await nexus(writeTen(20, 1), true);
  out.machine.memory.writeBytes(BUFFER, disk.subarray(0, 512));
  assert.is(out.run(`CHMOV 101, ${BUFFER}, WHEN DATA_OUT\nINT 1`), regs.LSI_DSTAT_SIR);
  assert.is(out.read(regs.LSI_SCNTL2) & regs.LSI_SCNTL2_WSS, regs.LSI_SCNTL2_WSS);
  assert.equal([out.read(regs.LSI_SODL), out.read32(regs.LSI_SBC)], [disk[100], 100]);
  assert.is(
    out.run(`CHMOV 1, ${BUFFER + 101}, WHEN DATA_OUT\nCHMOV 1, ${BUFFER + 102}, WHEN DATA_OUT\nINT 1`),
    regs.LSI_DSTAT_SIR,
  );
  assert.is(
    out.run(`CHMOV 409, ${BUFFER + 103}, WHEN DATA_OUT\nINT 1, WHEN STATUS\nINT 2`),
    regs.LSI_DSTAT_SIR,
  );
  assert.is(out.read32(regs.LSI_DSPS), 1);
  assert.equal(out.disk.read(20 * 512, 512), disk.subarray(0, 512));
  // A plain move of an odd count pads its last word: everything behind comes a byte too late.
  const pads = await nexus(writeTen(20, 1), true);
  pads.machine.memory.writeBytes(BUFFER, disk.subarray(0, 512));
  pads.run(
    `MOVE 101, ${BUFFER}, WHEN DATA_OUT\nMOVE 410, ${BUFFER + 101}, WHEN DATA_OUT\nINT 1, WHEN STATUS\nINT 2`,
  );
  assert.is(pads.read32(regs.LSI_DSPS), 1);
  assert.equal(pads.disk.read(20 * 512 + 102, 410), disk.subarray(101, 511));
});

test('data that ends in the middle of a word: padding, WSR, and IGNORE WIDE RESIDUE', async () => {
  const chip = await nexus([0x12, 0, 0, 0, 35, 0], true);
  assert.is(chip.run(`CHMOV 35, ${BUFFER}, WHEN DATA_IN\nINT 1, WHEN MSG_IN\nINT 2`), regs.LSI_DSTAT_SIR);
  assert.is(chip.read32(regs.LSI_DSPS), 1);
  assert.is(chip.read(regs.LSI_SCNTL2) & regs.LSI_SCNTL2_WSR, regs.LSI_SCNTL2_WSR);
  chip.run(`MOVE SCNTL2 | 1 TO SCNTL2\nMOVE 2, ${IN}, WHEN MSG_IN\nCLEAR ACK\nINT 1, WHEN STATUS`);
  assert.equal([...memory(chip, IN, 2)], [regs.MSG_IGNORE_RESIDUE, 1]);
  assert.is(chip.read(regs.LSI_SCNTL2) & regs.LSI_SCNTL2_WSR, 0);
  // With room behind it the padding goes to memory, and counts.
  const more = await nexus([0x12, 0, 0, 0, 35, 0], true);
  more.machine.memory.fill(BUFFER, 0xee, 64);
  more.run(`CHMOV 60, ${BUFFER}, WHEN DATA_IN\nINT 1`);
  assert.is(more.sist, regs.LSI_SIST0_MA);
  assert.equal([more.read32(regs.LSI_DBC) & 0xffffff, ...memory(more, BUFFER + 35, 2)], [24, 0, 0xee]);
});

test('the driver of the tests: odd segments, wide, with disks that disconnect in between', async () => {
  for (const profile of ['lsi53c895a', 'lsi53c895a-burst']) {
    const chip = await nexus(readTen(0, 1), true, profile);
    chip.write(regs.LSI_SCNTL1, regs.LSI_SCNTL1_RST);
    chip.write(regs.LSI_SCNTL1, 0);
    chip.write(regs.LSI_SCNTL3, 0x03);
    void chip.sist;
    void chip.sist;
    chip.clearAttention();
    const bytes = pattern(6144, 4);
    chip.machine.memory.writeBytes(BUFFER, bytes);
    const segments = [
      [BUFFER, 777],
      [BUFFER + 777, 1],
      [BUFFER + 778, 1246],
      [BUFFER + 2024, 3000],
      [BUFFER + 5024, 1120],
    ] as const;
    assert.is(chip.execute({ cdb: writeTen(2, 12), direction: 'out', segments }).status, 0);
    assert.equal(chip.disk.read(1024, 6144), bytes);
    chip.machine.memory.fill(BUFFER, 0, 6144);
    const read = chip.execute({ cdb: readTen(2, 12), segments });
    assert.equal([read.status, read.residual], [0, 0]);
    assert.equal(memory(chip, BUFFER, 6144), bytes);
    assert.is(read.mismatches > 0, profile === 'lsi53c895a-burst');
  }
});

test('a phase mismatch stops at once or in the middle, with what is left in DBC, DNAD and behind them', async () => {
  const chip = await nexus(readTen(0, 1));
  chip.run(`MOVE 3, ${BUFFER}, WHEN DATA_OUT\nINT 1`);
  assert.is(chip.sist, regs.LSI_SIST0_MA);
  assert.equal([chip.read32(regs.LSI_DBC), chip.read32(regs.LSI_DSP)], [0x08000003, PROGRAM + 8]);
  chip.run(`MOVE 1000, ${BUFFER}, WHEN DATA_IN\nINT 1`);
  assert.is(chip.sist, regs.LSI_SIST0_MA);
  assert.equal([chip.read32(regs.LSI_DBC), chip.read32(regs.LSI_DNAD)], [0x09000000 | 488, BUFFER + 512]);
  assert.equal([chip.read32(regs.LSI_RBC), chip.read32(regs.LSI_UA)], [0x09000000 | 488, BUFFER + 512]);
  assert.is(chip.read(regs.LSI_SSTAT1) & 7, regs.LSI_PHASE_STATUS);
  // What is left in the DMA FIFO, as drivers reckon it: nothing.
  const offset = chip.read(regs.LSI_DFIFO) | ((chip.read(regs.LSI_CTEST5) & 3) << 8);
  assert.is((offset - 488) & 0x3ff, 0);
  assert.equal([chip.read(regs.LSI_SSTAT0) & 0xe0, chip.read(regs.LSI_SSTAT2) & 0xe0], [0, 0]);
});

test('CCNTL0: jumps at a phase mismatch, by direction or by WSR, for data or for every phase', async () => {
  const jump = async (control: number, program: string, wide = false): Promise<number> => {
    const chip = await nexus([0x12, 0, 0, 0, 35, 0], wide);
    chip.load('INT 0x51', PROGRAM + 0x1000);
    chip.load('INT 0x52', PROGRAM + 0x1100);
    chip.write32(regs.LSI_PMJAD1, PROGRAM + 0x1000);
    chip.write32(regs.LSI_PMJAD2, PROGRAM + 0x1100);
    chip.write(regs.LSI_CCNTL0, control);
    chip.run(`${program}\nINT 1`);
    return (chip.sist & regs.LSI_SIST0_MA) !== 0 ? -1 : chip.read32(regs.LSI_DSPS);
  };
  const { LSI_CCNTL0_ENPMJ: on, LSI_CCNTL0_PMJCTL: byPhase, LSI_CCNTL0_ENNDJ: all } = regs;
  assert.is(await jump(0, `MOVE 3, ${BUFFER}, WHEN DATA_OUT`), -1);
  assert.is(await jump(on, `MOVE 3, ${BUFFER}, WHEN DATA_OUT`), 0x51);
  assert.is(await jump(on, `MOVE 3, ${BUFFER}, WHEN STATUS`), -1);
  assert.is(await jump(on | all, `MOVE 3, ${BUFFER}, WHEN STATUS`), 0x51);
  assert.is(await jump(on | byPhase, `MOVE 3, ${BUFFER}, WHEN DATA_OUT`), 0x51);
  assert.is(await jump(on | byPhase, `MOVE 40, ${BUFFER}, WHEN DATA_IN`), 0x52);
  assert.is(await jump(on | byPhase | all, `MOVE 3, ${BUFFER}, WHEN MSG_OUT`), 0x51);
  assert.is(
    await jump(on, `CHMOV 3, ${BUFFER}, WHEN DATA_IN\nCHMOV 3, ${BUFFER}, WHEN DATA_OUT`, true),
    0x52,
  );
});

test('the registers of a phase mismatch: RBC, UA, ESA, IA, SBC for direct moves and for tables', async () => {
  const chip = await nexus(readTen(0, 1));
  chip.write(regs.LSI_CCNTL0, regs.LSI_CCNTL0_ENPMJ);
  chip.load('INT 0x51', PROGRAM + 0x1000);
  chip.write32(regs.LSI_PMJAD1, PROGRAM + 0x1000);
  chip.machine.memory.write32(TABLE + 8, 0xab000400);
  chip.machine.memory.write32(TABLE + 12, BUFFER);
  chip.write32(regs.LSI_DSA, TABLE);
  chip.run('NOP\nCHMOV FROM 8, WHEN DATA_IN\nINT 1');
  assert.is(chip.read32(regs.LSI_DSPS), 0x51);
  const names = ['RBC', 'UA', 'ESA', 'IA', 'SBC', 'CSBC'] as const;
  assert.equal(
    names.map((name) => chip.read32(regs[`LSI_${name}`])),
    [0xab000200, BUFFER + 512, TABLE + 8, PROGRAM + 8, 512, 512],
  );
});

test('a mismatch with a byte in SWIDE: a chained move of one byte gets it, whatever the phase', async () => {
  const chip = await nexus([0x12, 0, 0, 0, 96, 0], true);
  chip.run(`CHMOV 95, ${BUFFER}, WHEN DATA_IN\nCHMOV 5, ${BUFFER + 95}, WHEN DATA_IN\nINT 1`);
  assert.is(chip.sist, regs.LSI_SIST0_MA);
  assert.equal([chip.read32(regs.LSI_RBC) & 0xffffff, chip.read32(regs.LSI_UA)], [5, BUFFER + 95]);
  const last = chip.read(regs.LSI_SWIDE);
  assert.is(chip.run(`CHMOV 1, ${BUFFER + 95}, WHEN DATA_IN\nINT 1`), regs.LSI_DSTAT_SIR);
  assert.is(memory(chip, BUFFER + 95, 1)[0], last);
});

test('too much and too little data: the target goes to STATUS, or stays', async () => {
  const chip = await Chip.create();
  chip.clearAttention();
  const little = chip.execute({
    cdb: [0x12, 0, 0, 0, 36, 0],
    segments: [
      [BUFFER, 100],
      [BUFFER + 100, 20],
    ],
  });
  assert.equal([little.status, little.residual], [0, 84]);
  const none = chip.execute({ cdb: [0, 0, 0, 0, 0, 0], segments: [[BUFFER, 10]] });
  assert.equal([none.status, none.residual], [0, 10]);
  const held = await nexus(readTen(0, 1));
  held.run(`MOVE 500, ${BUFFER}, WHEN DATA_IN\nINT 1, WHEN DATA_IN\nINT 2`);
  assert.is(held.read32(regs.LSI_DSPS), 1);
});

test('a medium that fails: data up to the bad block, a residual, CHECK CONDITION', async () => {
  const chip = await Chip.create();
  chip.clearAttention();
  chip.disk.write(0, disk);
  chip.machine.addFault({ disk: chip.disk, kind: 'error', first: 2, last: 2 });
  chip.machine.memory.fill(BUFFER, 0xee, 4096);
  const read = chip.execute({
    cdb: readTen(0, 8),
    segments: [
      [BUFFER, 700],
      [BUFFER + 700, 3396],
    ],
  });
  assert.equal([read.status, read.residual], [2, 3072]);
  assert.equal(memory(chip, BUFFER, 1024), disk.subarray(0, 1024));
  assert.is(memory(chip, BUFFER + 1024, 1)[0], 0xee);
});

test('a medium that fails in a chained move of an odd number of bytes leaves nothing in SWIDE', async () => {
  const chip = await nexus(readTen(0, 4), true, undefined, 2);
  assert.is(chip.run(`CHMOV 301, ${BUFFER}, WHEN DATA_IN\nINT 1`), regs.LSI_DSTAT_SIR);
  chip.machine.memory.fill(BUFFER + 301, 0xee, 1747);
  assert.is(chip.run(`CHMOV 1300, ${BUFFER + 301}, WHEN DATA_IN\nINT 1`), 0);
  assert.is(chip.sist, regs.LSI_SIST0_MA);
  assert.is(chip.read(regs.LSI_SCNTL2) & regs.LSI_SCNTL2_WSR, 0);
  assert.equal(
    [chip.read32(regs.LSI_DBC) & 0xffffff, chip.read32(regs.LSI_DNAD), chip.read32(regs.LSI_SBC)],
    [1300 - 723, BUFFER + 1024, 722],
  );
  assert.equal(memory(chip, BUFFER, 1025), Uint8Array.of(...disk.subarray(0, 1024), 0xee));
});

test('a medium that fails in a chained move of an odd number of bytes keeps none for another task in SODL', async () => {
  const chip = await nexus(writeTen(20, 4), true, undefined, 21);
  chip.machine.memory.writeBytes(BUFFER, disk.subarray(0, 2048));
  assert.is(chip.run(`CHMOV 300, ${BUFFER}, WHEN DATA_OUT\nINT 1`), regs.LSI_DSTAT_SIR);
  assert.is(chip.run(`CHMOV 1301, ${BUFFER + 300}, WHEN DATA_OUT\nINT 1, WHEN STATUS\nINT 2`), 0);
  assert.is(chip.sist, regs.LSI_SIST0_MA);
  assert.is(chip.read(regs.LSI_SCNTL2) & regs.LSI_SCNTL2_WSS, 0);
  assert.equal(chip.disk.read(20 * 512, 512), disk.subarray(0, 512));
});

test('a command phase takes up to 16 bytes in one move, and fewer in several', async () => {
  const chip = await Chip.create();
  chip.clearAttention();
  chip.bytes(OUT, [0x80]);
  chip.bytes(CDB, [...readTen(1, 1), 9, 9, 9, 9, 9, 9]);
  const select = `SELECT ATN 0, 0\nMOVE 1, ${OUT}, WHEN MSG_OUT\n`;
  chip.run(`${select}MOVE 16, ${CDB}, WHEN CMD\nINT 1, WHEN DATA_IN\nINT 2`);
  assert.is(chip.read32(regs.LSI_DSPS), 1);
  chip.setUp();
  chip.run(`${select}MOVE 4, ${CDB}, WHEN CMD\nMOVE 6, ${CDB + 4}, WHEN CMD\nINT 1, WHEN DATA_IN\nINT 2`);
  assert.is(chip.read32(regs.LSI_DSPS), 1);
  chip.setUp();
  chip.run(`${select}MOVE 20, ${CDB}, WHEN CMD\nINT 1`);
  assert.is(chip.sist, regs.LSI_SIST0_MA);
  assert.is(chip.read32(regs.LSI_DBC) & 0xffffff, 4);
  // A group without a length: as many as come.
  chip.setUp();
  chip.bytes(CDB, [0xc0, 0, 0, 0, 0, 0, 0]);
  chip.run(`${select}MOVE 7, ${CDB}, WHEN CMD\nMOVE 1, ${STATUS}, WHEN STATUS\nINT 1`);
  assert.equal([chip.read32(regs.LSI_DSPS), memory(chip, STATUS, 1)[0]], [1, 2]);
});

test('limits: what a profile allows', () => {
  const plain = lsi53c895a.profiles[0] as Profile;
  assert.equal(lsi53c895a.limits(plain), {
    addressBits: 64,
    maxSegments: 65536,
    maxSegmentBytes: 0xffffff,
    boundary: 2 ** 32,
    alignment: 1,
  });
});
