// The register file: reset values, what is writable, what reads and writes do beside, interrupts, timers.

import { Random } from '../../src/kernel/random.ts';
import { assert, suite } from '../run/suite.ts';
import { Chip, PROGRAM, regs } from './chip.ts';

const test = suite('lsi53c895a: registers');

test('identity, class, BARs, power management', async () => {
  const { controller } = await Chip.create();
  const config = (at: number, size: 1 | 2 | 4): number => controller.configRead(at, size);
  assert.equal([config(0, 4), config(8, 4) >>> 8, config(0x2c, 4)], [0x0012_1000, 0x010000, 0x1000_1000]);
  assert.equal([config(0x3d, 1), config(0x3e, 1), config(0x3f, 1)], [1, 0x11, 0x40]);
  assert.equal(
    controller.bars().map(({ index, kind, bytes }) => [index, kind, bytes]),
    [
      [0, 'io', 0x100],
      [1, 'memory', 0x400],
      [2, 'memory', 0x2000],
    ],
  );
  assert.equal([config(0x34, 1), config(0x40, 1)], [0x40, 1]);
  const narrow = await Chip.create({ profile: 'lsi53c810' });
  assert.is(narrow.controller.configRead(0, 4), 0x0001_1000);
  assert.is(narrow.controller.bars().length, 2);
});

test('registers after a reset', async () => {
  const chip = await Chip.create();
  chip.write(regs.LSI_ISTAT0, regs.LSI_ISTAT0_SRST);
  chip.write(regs.LSI_ISTAT0, 0);
  const values: Record<string, number> = {
    SCNTL0: 0xc0,
    DSTAT: 0x80,
    CTEST1: 0xf0,
    GPCNTL: 0x0f,
    STEST0: 0x03,
    STEST4: 0xc0,
    ISTAT0: 0,
    SCID: 0,
    SIEN0: 0,
    STIME0: 0,
    DCNTL: regs.LSI_DCNTL_COM,
  };
  for (const [name, value] of Object.entries(values)) {
    assert.is(chip.read((regs as Record<string, number>)[`LSI_${name}`] as number), value, name);
  }
  chip.controller.reset('power-on');
  chip.controller.enable();
  assert.is(chip.read(regs.LSI_DCNTL), 0);
});

test('plain registers keep what is written, at any width and place; read-only ones do not', async () => {
  const chip = await Chip.create();
  const { controller } = chip;
  const random = new Random(7);
  const plain = [regs.LSI_DSA, regs.LSI_TEMP, regs.LSI_SCRATCHA, regs.LSI_SCRATCHB, regs.LSI_SCRATCHR];
  plain.push(regs.LSI_MMRS, regs.LSI_MMWS, regs.LSI_SFS, regs.LSI_DRS, regs.LSI_SBMS, regs.LSI_DBMS);
  plain.push(regs.LSI_DNAD64, regs.LSI_PMJAD1, regs.LSI_PMJAD2, regs.LSI_RBC, regs.LSI_UA, regs.LSI_ESA);
  plain.push(regs.LSI_IA, regs.LSI_CSBC, regs.LSI_DSPS, regs.LSI_DNAD);
  for (const at of plain) {
    const value = random.next();
    controller.write32(1, at, value);
    assert.is(controller.read32(0, at), value);
    controller.write16(0, at + 1, 0x1234);
    const changed = ((value & 0xff0000ff) | 0x00123400) >>> 0;
    assert.is(controller.read32(1, at), changed);
    assert.is(controller.read8(1, at + 2), 0x12);
    assert.is(controller.read32(1, 0x300 + at), changed);
  }
  for (const at of [
    regs.LSI_SSTAT0,
    regs.LSI_SSTAT1,
    regs.LSI_SBCL,
    regs.LSI_SSID,
    regs.LSI_CTEST1,
    0xbc,
    0xe0,
  ]) {
    const before = chip.read(at);
    chip.write(at, ~before & 0xff);
    assert.is(chip.read(at), before, `0x${at.toString(16)}`);
  }
  chip.write32(regs.LSI_SBC, 0xffffffff);
  assert.is(chip.read32(regs.LSI_SBC), 0);
  // A word across two registers.
  chip.write32(regs.LSI_SCRATCHB + 2, 0xaabbccdd);
  assert.is(chip.read32(regs.LSI_SCRATCHB + 2), 0xaabbccdd);
  // The regression test of drivers: FFFFFFFFh does not come back from DSTAT.
  chip.write32(regs.LSI_DSTAT, 0xffffffff);
  assert.is.not(chip.read32(regs.LSI_DSTAT), 0xffffffff);
});

test('the 53C810 has no upper half: its registers come twice', async () => {
  const chip = await Chip.create({ profile: 'lsi53c810' });
  chip.write32(regs.LSI_DSA, 0x12345678);
  assert.is(chip.read32(0x80 + regs.LSI_DSA), 0x12345678);
  chip.write32(regs.LSI_SCRATCHC, 0x5555);
  assert.is(chip.read32(regs.LSI_SCRATCHC), 0);
  chip.write(regs.LSI_CCNTL0, 0x80);
  assert.is(chip.read(regs.LSI_CCNTL0), 0);
});

test('I/O ports and memory show the same registers, and CTEST2.PCICIE their addresses', async () => {
  const chip = await Chip.create();
  const { bus } = chip.machine;
  chip.write32(regs.LSI_DSA, 0xcafef00d);
  assert.is(bus.readMemory(chip.memoryBase + regs.LSI_DSA, 4), 0xcafef00d);
  const ports = chip.controller.configRead(0x10, 4) - 1;
  assert.is(bus.readPort(ports + regs.LSI_DSA, 4), 0xcafef00d);
  chip.write32(regs.LSI_SCRATCHA, 1);
  chip.write(regs.LSI_CTEST2, regs.LSI_CTEST2_PCICIE);
  assert.is(chip.read32(regs.LSI_SCRATCHA), chip.memoryBase);
  assert.is(chip.read32(regs.LSI_SCRATCHB), chip.ramBase);
  chip.write(regs.LSI_CTEST2, 0);
  assert.is(chip.read32(regs.LSI_SCRATCHA), 1);
});

test('the RAM for SCRIPTS is memory for the CPU and for SCRIPTS, and keeps its content over a chip reset', async () => {
  const chip = await Chip.create();
  const { bus } = chip.machine;
  bus.writeMemory(chip.ramBase + 0x1ffc, 4, 0x11223344);
  chip.controller.write16(2, 0x10, 0xbeef);
  assert.equal(
    [bus.readMemory(chip.ramBase + 0x1ffc, 4), bus.readMemory(chip.ramBase + 0x11, 1)],
    [0x11223344, 0xbe],
  );
  for (const [i, word] of [0x98080000, 0x77].entries())
    bus.writeMemory(chip.ramBase + 0x100 + 4 * i, 4, word);
  chip.go(chip.ramBase + 0x100);
  assert.is(chip.read(regs.LSI_DSTAT) & regs.LSI_DSTAT_SIR, regs.LSI_DSTAT_SIR);
  assert.is(chip.read32(regs.LSI_DSPS), 0x77);
  chip.setUp();
  assert.is(bus.readMemory(chip.ramBase + 0x1ffc, 4), 0x11223344);
});

test('DSTAT and SIST clear when read, and the pin follows', async () => {
  const chip = await Chip.create();
  assert.not(chip.line);
  chip.load('INT 0x1234');
  chip.go();
  assert.ok(chip.line);
  assert.is(chip.read(regs.LSI_ISTAT0), regs.LSI_ISTAT0_DIP);
  assert.is(chip.read(regs.LSI_DSTAT), regs.LSI_DSTAT_DFE | regs.LSI_DSTAT_SIR);
  assert.is(chip.read32(regs.LSI_DSPS), 0x1234);
  assert.is(chip.read32(regs.LSI_DSP), PROGRAM + 8);
  assert.is(chip.read(regs.LSI_DSTAT), regs.LSI_DSTAT_DFE);
  assert.is(chip.read(regs.LSI_ISTAT0), 0);
  assert.not(chip.line);
});

test('a masked fatal interrupt stops SCRIPTS and sets DIP, but not the pin; masking later takes nothing back', async () => {
  const chip = await Chip.create();
  chip.write(regs.LSI_DIEN, 0);
  chip.load('INT 1\nINT 2');
  chip.go();
  assert.is(chip.read(regs.LSI_ISTAT0), regs.LSI_ISTAT0_DIP);
  assert.is(chip.read(regs.LSI_ISTAT1) & regs.LSI_ISTAT1_SRUN, 0);
  assert.not(chip.line);
  assert.is(chip.read(regs.LSI_DSTAT) & regs.LSI_DSTAT_SIR, regs.LSI_DSTAT_SIR);
  chip.write(regs.LSI_DIEN, 0x7d);
  chip.go(PROGRAM + 8);
  assert.ok(chip.line);
  chip.write(regs.LSI_DIEN, 0);
  assert.ok(chip.line);
  chip.read(regs.LSI_DSTAT);
  assert.not(chip.line);
});

test('DCNTL.IRQD holds the pin back; ISTAT1.SI blocks what comes, not what is there', async () => {
  const chip = await Chip.create();
  chip.write(regs.LSI_DCNTL, regs.LSI_DCNTL_IRQD | regs.LSI_DCNTL_COM);
  chip.load('INT 1');
  chip.go();
  assert.not(chip.line);
  chip.write(regs.LSI_DCNTL, regs.LSI_DCNTL_COM);
  assert.ok(chip.line);
  chip.write(regs.LSI_ISTAT1, regs.LSI_ISTAT1_SI);
  assert.ok(chip.line);
  chip.read(regs.LSI_DSTAT);
  chip.go();
  assert.not(chip.line);
  chip.write(regs.LSI_ISTAT1, 0);
  assert.ok(chip.line);
});

test('the PCI command register gates the line and the registers', async () => {
  const chip = await Chip.create();
  chip.load('INT 1');
  chip.go();
  chip.controller.configWrite(4, 2, 0x407);
  assert.not(chip.line);
  assert.is(chip.controller.configRead(6, 2) & 8, 8);
  chip.controller.configWrite(4, 2, 6);
  assert.ok(chip.line);
  assert.is(chip.controller.read8(0, regs.LSI_SCNTL0), 0xff);
  chip.controller.configWrite(4, 2, 5);
  assert.is(chip.read(regs.LSI_SCNTL0), 0xff);
  assert.is(chip.controller.read32(2, 0), 0xffffffff);
});

test('INTFLY sets INTF while SCRIPTS run on; a one clears it', async () => {
  const chip = await Chip.create();
  chip.load('INTFLY 5\nMOVE 0x42 TO SCRATCHA0\nWAIT RESELECT REL(end)\nend: INT 1');
  chip.go();
  assert.is(chip.read(regs.LSI_ISTAT0), regs.LSI_ISTAT0_INTF);
  assert.ok(chip.line);
  assert.is(chip.read(regs.LSI_SCRATCHA), 0x42);
  assert.is(chip.read(regs.LSI_ISTAT1) & regs.LSI_ISTAT1_SRUN, regs.LSI_ISTAT1_SRUN);
  chip.write(regs.LSI_ISTAT0, regs.LSI_ISTAT0_SEM);
  assert.is(chip.read(regs.LSI_ISTAT0), regs.LSI_ISTAT0_INTF | regs.LSI_ISTAT0_SEM);
  chip.write(regs.LSI_ISTAT0, regs.LSI_ISTAT0_INTF);
  assert.is(chip.read(regs.LSI_ISTAT0), 0);
  assert.not(chip.line);
});

test('interrupts that come behind an unread one are stacked, and move up once it is read', async () => {
  const chip = await Chip.create();
  chip.load('INT 1');
  chip.go();
  chip.write(regs.LSI_SCNTL1, regs.LSI_SCNTL1_RST);
  chip.write(regs.LSI_SCNTL1, 0);
  assert.is(chip.read(regs.LSI_ISTAT0), regs.LSI_ISTAT0_DIP);
  assert.is(chip.sist, 0);
  assert.is(chip.read(regs.LSI_DSTAT) & regs.LSI_DSTAT_SIR, regs.LSI_DSTAT_SIR);
  assert.is(chip.read(regs.LSI_ISTAT0), regs.LSI_ISTAT0_SIP);
  assert.ok(chip.line);
  assert.is(chip.sist, regs.LSI_SIST0_RST);
  assert.is(chip.read(regs.LSI_ISTAT0), 0);
});

test('ABRT stops SCRIPTS, and comes again until ISTAT0.ABRT is cleared', async () => {
  const chip = await Chip.create();
  chip.load('here: JUMP here');
  chip.write32(regs.LSI_DSP, PROGRAM);
  chip.machine.advance(chip.machine.now() + 200_000);
  assert.is(chip.read(regs.LSI_ISTAT1) & regs.LSI_ISTAT1_SRUN, regs.LSI_ISTAT1_SRUN);
  chip.write(regs.LSI_ISTAT0, regs.LSI_ISTAT0_ABRT);
  assert.is(chip.read(regs.LSI_ISTAT1) & regs.LSI_ISTAT1_SRUN, 0);
  assert.is(chip.read(regs.LSI_DSTAT) & regs.LSI_DSTAT_ABRT, regs.LSI_DSTAT_ABRT);
  assert.is(chip.read(regs.LSI_DSTAT) & regs.LSI_DSTAT_ABRT, regs.LSI_DSTAT_ABRT);
  chip.write(regs.LSI_ISTAT0, 0);
  assert.is(chip.read(regs.LSI_DSTAT) & regs.LSI_DSTAT_ABRT, regs.LSI_DSTAT_ABRT);
  assert.is(chip.read(regs.LSI_DSTAT), regs.LSI_DSTAT_DFE);
});

test('a soft reset stops everything at once, and keeps the configuration', async () => {
  const chip = await Chip.create();
  chip.load('here: JUMP here');
  chip.write32(regs.LSI_DSP, PROGRAM);
  chip.write(regs.LSI_STIME1, 5);
  chip.machine.advance(chip.machine.now() + 100_000);
  chip.write(regs.LSI_ISTAT0, regs.LSI_ISTAT0_SRST);
  assert.is(chip.read(regs.LSI_ISTAT0), regs.LSI_ISTAT0_SRST);
  assert.is(chip.machine.nextDeadline(), Number.POSITIVE_INFINITY);
  assert.equal([chip.read(regs.LSI_ISTAT1), chip.read32(regs.LSI_DSP), chip.sist], [0, 0, 0]);
  assert.is(chip.controller.configRead(4, 2) & 7, 7);
});

test('SIGP: CTEST2 shows it and takes it', async () => {
  const chip = await Chip.create();
  chip.write(regs.LSI_ISTAT0, regs.LSI_ISTAT0_SIGP | regs.LSI_ISTAT0_SEM);
  assert.is(chip.read(regs.LSI_CTEST2) & regs.LSI_CTEST2_SIGP, regs.LSI_CTEST2_SIGP);
  assert.is(chip.read(regs.LSI_CTEST2) & regs.LSI_CTEST2_SIGP, 0);
  assert.is(chip.read(regs.LSI_ISTAT0), regs.LSI_ISTAT0_SEM);
});

test('SCNTL2: ones clear the flags of wide residues', async () => {
  const chip = await Chip.create();
  chip.write(regs.LSI_SCNTL2, 0xff);
  assert.is(chip.read(regs.LSI_SCNTL2), 0xf6);
});

test('the clock quadrupler locks; inputs of the general purpose port are pulled up', async () => {
  const chip = await Chip.create();
  assert.is(chip.read(regs.LSI_STEST4), regs.LSI_STEST4_SMODE_LVD);
  chip.write(regs.LSI_STEST1, regs.LSI_STEST1_QEN);
  assert.is(chip.read(regs.LSI_STEST4), regs.LSI_STEST4_SMODE_LVD | regs.LSI_STEST4_LOCK);
  chip.write(regs.LSI_GPCNTL, 0x1e);
  chip.write(regs.LSI_GPREG, 0);
  assert.is(chip.read(regs.LSI_GPREG), 0x1e);
  chip.write(regs.LSI_GPREG, 1);
  assert.is(chip.read(regs.LSI_GPREG), 0x1f);
});

test('the general purpose timer: 18.5 ms for code 8 at 40 MHz, by the divisor, the quadrupler and the scale', async () => {
  const chip = await Chip.create();
  const measure = (): number => {
    const from = chip.machine.now();
    chip.machine.settle();
    const took = chip.machine.now() - from;
    assert.is(chip.sist, took > 0 ? 0x0200 : 0);
    return took;
  };
  const time = (ccf: number, stest1: number, stime1: number): number => {
    chip.write(regs.LSI_SCNTL3, ccf);
    chip.write(regs.LSI_STEST1, stest1);
    chip.write(regs.LSI_STIME1, 0);
    chip.write(regs.LSI_STIME1, stime1);
    return measure();
  };
  assert.is(time(3, 0, 8), 18_515_200);
  assert.is(time(4, 0, 8), 27_772_800);
  assert.is(time(3, 0x0c, 8), 18_515_200 / 4);
  assert.is(time(3, 0, 0x20 | 1), 144_650 * 16);
  chip.write(regs.LSI_STIME1, 8);
  assert.is(time(3, 0, 0), 0);
  // Posted without interrupt while masked; with its enable bit it stops SCRIPTS.
  time(3, 0, 1);
  chip.write(regs.LSI_SIEN1, regs.LSI_SIST1_GEN);
  chip.load('WAIT RESELECT 0');
  chip.write(regs.LSI_STIME1, 0);
  chip.write(regs.LSI_STIME1, 1);
  chip.go();
  assert.ok(chip.line);
  assert.is(chip.read(regs.LSI_ISTAT0), regs.LSI_ISTAT0_SIP);
  assert.is(chip.read(regs.LSI_ISTAT1) & regs.LSI_ISTAT1_SRUN, 0);
  assert.is(chip.sist, 0x0200);
});

test('D3 and back is a reset of the function', async () => {
  const chip = await Chip.create();
  chip.write32(regs.LSI_DSA, 1);
  chip.controller.configWrite(0x44, 2, 3);
  assert.is(chip.read(regs.LSI_SCNTL0), 0xff);
  chip.controller.configWrite(0x44, 2, 0);
  chip.controller.enable();
  assert.is(chip.read32(regs.LSI_DSA), 0);
});

test('disks: ids of a wide or a narrow bus but the own one, eight units each', async () => {
  const chip = await Chip.create({ targets: [0, 6, 8, 15] });
  assert.is(chip.disks.length, 4);
  const disk = chip.machine.addDisk({ bytes: 4096 });
  assert.throws(() => chip.controller.attach(disk, 7), /no place/);
  assert.throws(() => chip.controller.attach(disk, 16), /no place/);
  assert.throws(() => chip.controller.attach(disk, 1, 8), /no place/);
  chip.controller.attach(disk, 1, 7);
  const narrow = await Chip.create({ profile: 'lsi53c810' });
  const other = narrow.machine.addDisk({ bytes: 4096 });
  assert.throws(() => narrow.controller.attach(other, 8), /no place/);
});
