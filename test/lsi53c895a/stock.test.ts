// What stock software does, step by step, from what its authors published about it: SeaBIOS's polled commands, the
// probing of Linux's and FreeBSD's sym drivers, their way of running SCRIPTS (start queue with SIGP, loads and stores,
// phase mismatches handled by SCRIPTS), the older ncr53c8xx's without them, and what fuzzers once sent to emulators.

import { createMachine, type Machine } from '../../src/machine/index.ts';
import { assemble, link } from '../../src/scripts/index.ts';
import { assert, suite } from '../run/suite.ts';
import { Chip, DATA, PROGRAM, pattern, readTen, regs, TABLE, writeTen } from './chip.ts';

const test = suite('lsi53c895a: stock software');

/** SeaBIOS, lsi-scsi: its program for one command, words as it puts them on its stack. */
function seabios(chip: Chip, target: number, cdb: readonly number[], to: number, bytes: number): number {
  const { controller, machine } = chip;
  const [message, status, last, spare] = [DATA + 0x10, DATA + 0x20, DATA + 0x21, DATA + 0x22];
  const block = DATA + 0x30;
  chip.bytes(message, [0x80, 0x08]);
  chip.bytes(block, [...cdb, ...Array.from({ length: 16 - cdb.length }, () => 0)]);
  machine.memory.write8(status, 0xff);
  machine.memory.write8(last, 0xff);
  const words = [0x40000000 + target * 0x10000, 0, 0x06000001, message, 0x02000010, block];
  words.push(0x87820000, 0x18, 0x07000002, spare, 0x50000000, 0, 0x07000002, spare);
  words.push(bytes === 0 ? 0 : 0x01000000 + bytes, to, 0x03000001, status, 0x07000001, last, 0x98080000, 0);
  for (const [i, word] of words.entries()) machine.memory.write32(PROGRAM + 4 * i, word);
  for (let i = 0; i < 4; i++) controller.write8(0, regs.LSI_DSP + i, (PROGRAM >>> (8 * i)) & 0xff);
  for (let round = 0; round < 100_000; round++) {
    const dstat = controller.read8(0, regs.LSI_DSTAT);
    const sist0 = controller.read8(0, regs.LSI_SIST0);
    const sist1 = controller.read8(0, regs.LSI_SIST1);
    if (sist0 !== 0 || sist1 !== 0) return -1;
    if ((dstat & 0x04) !== 0) return machine.memory.read8(last) === 0 ? machine.memory.read8(status) : -2;
    machine.advance(machine.now() + 5000);
  }
  return -3;
}

test('SeaBIOS: a reset that is never taken back, no ATN, a command of 16 bytes, ACK left as it is', async () => {
  for (const latencyNs of [0, 60_000]) {
    const chip = await Chip.create({ latencyNs });
    chip.controller.reset('power-on');
    chip.controller.enable();
    chip.disk.write(0, pattern(2048, 3));
    chip.controller.write8(0, regs.LSI_ISTAT0, regs.LSI_ISTAT0_SRST);
    assert.is(seabios(chip, 0, [0x12, 0, 0, 0, 36, 0], DATA + 0x1000, 36), 0);
    assert.is(seabios(chip, 0, [0, 0, 0, 0, 0, 0], 0, 0), 2, 'the unit attention');
    assert.is(seabios(chip, 0, [0, 0, 0, 0, 0, 0], 0, 0), 0);
    assert.is(seabios(chip, 0, readTen(0, 4), DATA + 0x2000, 2048), 0);
    assert.ok(chip.machine.memory.equals(DATA + 0x2000, pattern(2048, 3)));
    // It looks for all targets without having set a time-out.
    assert.is(seabios(chip, 1, [0x12, 0, 0, 0, 36, 0], DATA + 0x1000, 36), -1);
    assert.is(seabios(chip, 0, readTen(0, 4), DATA + 0x3000, 2048), 0);
  }
});

test('sym53c8xx: registers, cache test by LOAD and STORE, frequency, lock of the quadrupler', async () => {
  const chip = await Chip.create();
  const { controller, machine } = chip;
  chip.write32(regs.LSI_DSTAT, 0xffffffff);
  assert.is.not(chip.read32(regs.LSI_DSTAT), 0xffffffff);
  // The abort before a reset, if SCRIPTS ran.
  chip.write(regs.LSI_ISTAT0, regs.LSI_ISTAT0_SRST);
  chip.read(regs.LSI_MBOX1);
  chip.write(regs.LSI_ISTAT0, 0);
  // Cache test: host 1 in memory, chip 2 in TEMP; they change places.
  chip.write(regs.LSI_CTEST4, regs.LSI_CTEST4_MPEE);
  machine.memory.write32(TABLE + 0x40, 1);
  chip.write32(regs.LSI_TEMP, 2);
  chip.write32(regs.LSI_DSA, TABLE);
  chip.load(
    'LOAD SCRATCHA, 4, DSAREL(0x40)\nSTORE TEMP, 4, DSAREL(0x40)\nLOAD TEMP, 4, DSAREL(0x40)\nINT 99',
  );
  chip.go();
  assert.ok((chip.read(regs.LSI_ISTAT0) & 7) !== 0);
  assert.is(chip.read(regs.LSI_DSTAT) & 0x61, 0);
  assert.is(chip.read32(regs.LSI_DSP), PROGRAM + 32);
  assert.equal(
    [machine.memory.read32(TABLE + 0x40), chip.read32(regs.LSI_SCRATCHA), chip.read32(regs.LSI_TEMP)],
    [2, 1, 2],
  );
  // The clock, measured by the general purpose timer in quarters of a millisecond.
  controller.write16(1, regs.LSI_SIEN0, 0);
  void chip.sist;
  chip.write(regs.LSI_SCNTL3, 4);
  chip.write(regs.LSI_STIME1, 0);
  chip.write(regs.LSI_STIME1, 8);
  let quarters = 0;
  while ((chip.sist & 0x0200) === 0 && quarters++ < 100_000) machine.advance(machine.now() + 250_000);
  chip.write(regs.LSI_STIME1, 0);
  const kilohertz = (256 * 4340 * 4) / quarters;
  assert.ok(kilohertz > 39_000 && kilohertz < 41_000, `${kilohertz} kHz`);
  chip.write(regs.LSI_STEST1, regs.LSI_STEST1_QEN);
  assert.ok((chip.read(regs.LSI_STEST4) & regs.LSI_STEST4_LOCK) !== 0);
  // The bus reset that the driver checks for shorts and missing terminators.
  controller.write16(1, regs.LSI_SIEN0, regs.LSI_SIST0_RST);
  chip.write(regs.LSI_SCNTL1, regs.LSI_SCNTL1_RST);
  assert.is(chip.read(regs.LSI_SSTAT0) & 3, regs.LSI_SSTAT0_RST);
  assert.equal(
    [chip.read(regs.LSI_SSTAT2) & 1, controller.read16(1, regs.LSI_SBDL), chip.read(regs.LSI_SBCL)],
    [0, 0, 0],
  );
  chip.write(regs.LSI_SCNTL1, 0);
  assert.ok(chip.line);
  assert.is(chip.sist, regs.LSI_SIST0_RST);
});

test('ncr53c8xx: the cache test by memory moves to and from the registers, on the old chip too', async () => {
  for (const profile of ['lsi53c895a', 'lsi53c810']) {
    const chip = await Chip.create({ profile });
    const { memory } = chip.machine;
    const [scratch, temp] = [chip.memoryBase + regs.LSI_SCRATCHA, chip.memoryBase + regs.LSI_TEMP];
    memory.write32(TABLE, 1);
    chip.write32(regs.LSI_TEMP, 2);
    chip.run(`MOVE MEMORY NO FLUSH 4, ${TABLE}, ${scratch}\nMOVE MEMORY NO FLUSH 4, ${temp}, ${TABLE}
      MOVE MEMORY NO FLUSH 4, ${TABLE}, ${temp}\nINT 99`);
    assert.equal(
      [memory.read32(TABLE), chip.read32(regs.LSI_SCRATCHA), chip.read32(regs.LSI_TEMP)],
      [2, 1, 2],
    );
  }
});

/** SCRIPTS in the way of sym53c8xx, in our own words. A job of 0 in the queue: nothing to do. */
const QUEUE_PROGRAM = `
  start:
    MOVE CTEST2 TO SFBR
    LOAD DSA, 4, startpos
    LOAD TEMP, 4, DSAREL(4)
    LOAD SCRATCHA, 4, DSAREL(0)
    MOVE SCRATCHA2 TO SFBR
    JUMP idle, IF 0
    STORE DSA, 4, slot
    STORE TEMP, 4, startpos
    LOAD DSA, 4, DSAREL(0)
    SELECT ATN FROM 0, unget
    INT 1, WHEN NOT MSG_OUT
    MOVE FROM 8, WHEN MSG_OUT
    JUMP dispatch, WHEN NOT CMD
  docdb:
    MOVE FROM 16, WHEN CMD
  dispatch:
    JUMP msgin, WHEN MSG_IN
    JUMP todata, IF DATA_OUT
    JUMP todata, IF DATA_IN
    JUMP getstatus, IF STATUS
    JUMP docdb, IF CMD
    INT 2
  todata:
    LOAD TEMP, 4, DSAREL(0x78)
    RETURN
  getstatus:
    MOVE FROM 24, WHEN STATUS
    JUMP msgin, WHEN MSG_IN
    INT 3
  msgin:
    MOVE 1, scratch, WHEN MSG_IN
    JUMP done, IF 0x00
    JUMP away, IF 0x04
    JUMP next, IF 0x02
    JUMP extended, IF 0x01
    INT 4
  extended:
    CLEAR ACK
    MOVE 1, scratch, WHEN MSG_IN
    CLEAR ACK
    MOVE 2, scratch, WHEN MSG_IN
  next:
    CLEAR ACK
    JUMP dispatch
  away:
    MOVE SCNTL2 & 0x7f TO SCNTL2
    CLEAR ACK AND ATN
    WAIT DISCONNECT
    JUMP start
  done:
    MOVE SCNTL2 & 0x7f TO SCNTL2
    CLEAR ACK AND ATN
    WAIT DISCONNECT
    STORE DSA, 4, scratch
    LOAD DSA, 4, donepos
    LOAD SCRATCHA, 4, scratch
    STORE SCRATCHA, 4, DSAREL(0)
    LOAD SCRATCHA, 4, DSAREL(4)
    INTFLY 0
    STORE SCRATCHA, 4, donepos
    JUMP start
  unget:
    LOAD SCRATCHA, 4, slot
    STORE SCRATCHA, 4, startpos
  idle:
    WAIT RESELECT start
    MOVE 0x0b TO SCNTL3
    MOVE 1, scratch, WHEN MSG_IN
    CLEAR ACK
    MOVE 2, scratch, WHEN MSG_IN
    LOAD DSA, 4, table
    CLEAR CARRY
    MOVE SIDL SHL TO SFBR
    MOVE SFBR SHL TO DSA0
    LOAD DSA, 4, DSAREL(0)
    CLEAR ACK
    JUMP dispatch
  mismatch:
    STORE IA, 4, DSAREL(0x78)
    STORE DSA, 4, slot
    STORE ESA, 4, scratch
    LOAD DSA, 4, scratch
    STORE RBC, 4, DSAREL(0)
    STORE UA, 4, DSAREL(4)
    LOAD DSA, 4, slot
    JUMP dispatch
  startpos: NOP
  donepos: NOP
  slot: NOP
  scratch: NOP
  table: NOP
`;

/**
 * A driver that works as sym53c8xx does: the program in on-chip RAM, a queue of jobs that SIGP announces, a queue of
 * those that are done and INTFLY, 40-bit tables, phase mismatches handled by SCRIPTS.
 */
class QueueDriver {
  readonly #starts = TABLE;
  readonly #dones = TABLE + 0x800;
  readonly #jobs = TABLE + 0x1_0000;
  readonly #tasks = TABLE + 0x4000;
  readonly #dispatch: number;
  #put = 0;
  #got = 0;

  constructor(readonly chip: Chip) {
    const { memory, bus } = chip.machine;
    const base = chip.ramBase;
    chip.write(regs.LSI_CCNTL0, regs.LSI_CCNTL0_ENPMJ);
    chip.write(regs.LSI_CCNTL1, regs.LSI_CCNTL1_EN64TIBMV | regs.LSI_CCNTL1_TIMOD);
    chip.write(regs.LSI_SCNTL3, 0x0b);
    for (const queue of [this.#starts, this.#dones]) {
      for (let i = 0; i < 64; i++) {
        memory.write32(queue + 8 * i, 0);
        memory.write32(queue + 8 * i + 4, queue + 8 * ((i + 1) % 64));
      }
    }
    const program = assemble(QUEUE_PROGRAM);
    for (const [i, word] of link(program, { base }).entries()) bus.writeMemory(base + 4 * i, 4, word);
    const at = (name: string): number => base + (program.labels[name] as number);
    bus.writeMemory(at('startpos'), 4, this.#starts);
    bus.writeMemory(at('donepos'), 4, this.#dones);
    bus.writeMemory(at('table'), 4, this.#tasks);
    chip.write32(regs.LSI_PMJAD1, at('mismatch'));
    chip.write32(regs.LSI_PMJAD2, at('mismatch'));
    this.#dispatch = at('dispatch');
    chip.write32(regs.LSI_DSP, at('start'));
  }

  /** Puts a job into the queue and signals. */
  submit(
    tag: number,
    target: number,
    cdb: readonly number[],
    segments: readonly (readonly [number, number])[],
  ): void {
    const { chip } = this;
    const { memory } = chip.machine;
    const job = this.#jobs + tag * 0x100;
    const entry = (i: number, bytes: number, address: number): void => {
      memory.write32(job + 8 * i, bytes);
      memory.write32(job + 8 * i + 4, address);
    };
    memory.write32(job, ((0x0b << 24) | (target << 16)) >>> 0);
    chip.bytes(job + 0x80, [0xc0, 0x20, tag, 1, 2, 3, 1]);
    // The first command to a target negotiates.
    entry(1, tag < 2 ? 7 : 3, job + 0x80);
    entry(2, cdb.length, chip.bytes(job + 0x90, cdb));
    entry(3, 1, chip.bytes(job + 0x8f, [0xff]));
    const data = job + 0xa0;
    for (const [i, [address, bytes]] of segments.entries()) {
      memory.write32(data + 8 * i, cdb[0] === 0x2a ? 0x10000000 : 0x11000000);
      memory.write32(data + 8 * i + 4, 8 * (6 + i));
      entry(6 + i, ((Math.floor(address / 2 ** 32) << 24) | bytes) >>> 0, address % 2 ** 32);
    }
    memory.write32(data + 8 * segments.length, 0x80080000);
    memory.write32(data + 8 * segments.length + 4, this.#dispatch);
    memory.write32(job + 0x78, data);
    memory.write32(this.#tasks + 4 * tag, job);
    memory.write32(this.#starts + 8 * this.#put, job);
    this.#put = (this.#put + 1) % 64;
    memory.write32(this.#starts + 8 * this.#put, 0);
    chip.write(regs.LSI_ISTAT0, regs.LSI_ISTAT0_SIGP);
  }

  /** The interrupt handler's part: tags and status of what is done. */
  reap(): [tag: number, status: number][] {
    const { chip } = this;
    const { memory } = chip.machine;
    const istat = chip.read(regs.LSI_ISTAT0);
    if ((istat & 3) !== 0) {
      const codes = [
        chip.sist,
        chip.read(regs.LSI_DSTAT),
        chip.read32(regs.LSI_DSPS),
        chip.read32(regs.LSI_DSP),
      ];
      throw new Error(codes.map((code) => `0x${code.toString(16)}`).join(' '));
    }
    if ((istat & regs.LSI_ISTAT0_INTF) !== 0) {
      chip.write(regs.LSI_ISTAT0, (istat & regs.LSI_ISTAT0_SIGP) | regs.LSI_ISTAT0_INTF);
    }
    const found: [number, number][] = [];
    for (let job = memory.read32(this.#dones + 8 * this.#got); job !== 0; ) {
      memory.write32(this.#dones + 8 * this.#got, 0);
      this.#got = (this.#got + 1) % 64;
      found.push([(job - this.#jobs) / 0x100, memory.read8(job + 0x8f)]);
      job = memory.read32(this.#dones + 8 * this.#got);
    }
    return found;
  }

  /** Lets time pass until `count` jobs more are done. */
  wait(count: number): [tag: number, status: number][] {
    const { machine } = this.chip;
    const found = this.reap();
    for (let i = 0; i < 10_000 && found.length < count; i++) {
      machine.advance(machine.now() + 100_000);
      found.push(...this.reap());
    }
    return found;
  }
}

for (const profile of ['lsi53c895a', 'lsi53c895a-burst']) {
  for (const latencyNs of [0, 2000, 40_000]) {
    test(`a queue of tagged jobs in on-chip SCRIPTS: ${profile}, media of ${latencyNs} ns`, async () => {
      const chip = await Chip.create({ profile, latencyNs, targets: [0, 1] });
      chip.clearAttention(0);
      chip.clearAttention(1);
      const driver = new QueueDriver(chip);
      const bytes = pattern(40 * 4096, 8);
      const { memory } = chip.machine;
      const HIGH_DATA = 2 ** 32 + 0x2000;
      const segments = (tag: number): [number, number][] => {
        const at = tag % 3 === 0 ? HIGH_DATA + tag * 4096 : DATA + tag * 4096;
        return [
          [at, 2 + 2 * tag],
          [at + 2 + 2 * tag, 1000],
          [at + 1002 + 2 * tag, 3094 - 2 * tag],
        ];
      };
      for (const opcode of ['write', 'read'] as const) {
        for (let tag = 0; tag < 40; tag++) {
          const [at] = segments(tag)[0] as [number, number];
          if (opcode === 'write') memory.writeBytes(at, bytes.subarray(tag * 4096, tag * 4096 + 4096));
          else memory.fill(at, 0, 4096);
        }
        const make = opcode === 'write' ? writeTen : readTen;
        for (let tag = 0; tag < 40; tag++) {
          driver.submit(tag, tag & 1, make(8 * tag, 8), segments(tag));
          if (tag % 7 === 0) chip.machine.advance(chip.machine.now() + 3000);
        }
        const done = driver.wait(40);
        assert.equal(
          done.map(([tag]) => tag).sort((a, b) => a - b),
          Array.from({ length: 40 }, (_, tag) => tag),
        );
        assert.ok(done.every(([, status]) => status === 0));
        for (let tag = 0; tag < 40; tag++) {
          const expected = bytes.subarray(tag * 4096, tag * 4096 + 4096);
          const disk = chip.disks[tag & 1];
          if (opcode === 'write') assert.equal(disk?.read(4096 * tag, 4096), expected, `tag ${tag}`);
          else assert.ok(memory.equals((segments(tag)[0] as [number, number])[0], expected), `tag ${tag}`);
        }
      }
    });
  }
}

test('what fuzzers sent to emulators: SCRIPTS that write the registers that run them', async () => {
  const chip = await Chip.create({ flavour: 'debug' });
  const { bus } = chip.machine;
  const ram = chip.ramBase;
  const own = chip.memoryBase;
  // A memory move from the program to the registers from ISTAT on, DSP and DCNTL among them.
  bus.writeMemory(ram, 4, 0xc0000024);
  bus.writeMemory(ram + 0x114, 4, 0x80);
  bus.writeMemory(ram + 0x12c, 4, ram);
  bus.writeMemory(ram + 4, 4, ram + 0x114);
  bus.writeMemory(ram + 8, 4, own + 0x14);
  bus.writeMemory(own + 0x2f, 4, 0xff);
  chip.machine.advance(chip.machine.now() + 1_000_000);
  chip.write32(regs.LSI_DSP, ram);
  chip.machine.advance(chip.machine.now() + 1_000_000);
  chip.setUp();
  // SCRIPTS where no memory is, started by the last byte alone.
  chip.write(regs.LSI_DSP + 2, 0xff);
  chip.write(regs.LSI_DSP + 3, 0xff);
  chip.machine.settle();
  assert.is(chip.read(regs.LSI_DSTAT) & 0x7f, regs.LSI_DSTAT_BF);
});

test('what fuzzers sent to emulators: messages that end the nexus they are sent in', async () => {
  const chip = await Chip.create({ flavour: 'debug', latencyNs: 1_000_000 });
  chip.clearAttention();
  const message = chip.bytes(DATA, [0xc0, 0x0c, 0x80, 0x0d, 0x06, 0x22, 0x01]);
  const cdb = chip.bytes(DATA + 0x100, [0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
  chip.load(`SELECT ATN 0, 0
MOVE 1, ${message}, WHEN MSG_OUT
MOVE 2, ${cdb}, WHEN CMD
SET ATN
    MOVE 3, ${message + 1}, WHEN MSG_OUT
MOVE 4, ${message}, WHEN MSG_OUT
MOVE 1, ${message}, WHEN CMD
INT 1`);
  chip.go();
  assert.is(chip.sist, regs.LSI_SIST0_UDC);
  chip.setUp();
  assert.is(chip.execute({ cdb: [0, 0, 0, 0, 0, 0] }).status, 2);
  assert.is(chip.execute({ cdb: [0, 0, 0, 0, 0, 0] }).status, 0);
});

/** One of the public reports' machines: a chip in a PCI slot, with a disk, and RAM where the report writes. */
async function reported(slot: number, places: readonly number[], profile = 'lsi53c895a'): Promise<Machine> {
  const machine = await createMachine({
    ram: [{ base: 0, bytes: 0x100000 }, ...places.map((base) => ({ base, bytes: 0x10000 }))],
    guard: false,
    flavour: 'debug',
  });
  const controller = machine.addController({ kind: 'lsi53c895a', profile, slot });
  controller.reset('power-on');
  controller.attach(machine.addDisk({ bytes: 2 ** 20 }), 0);
  return machine;
}

function configure(machine: Machine, slot: number, register: number, value: number, size: 2 | 4 = 4): void {
  machine.bus.writePort(0xcf8, 4, (0x80000000 | (slot << 11) | register) >>> 0);
  machine.bus.writePort(0xcfc, size, value);
}

/** The time that a client of such a report gives the chip. */
function letRun(machine: Machine): void {
  for (let i = 0; i < 100; i++) machine.advance(machine.now() + 10_000);
}

test('public reports, byte for byte: SCRIPTS where no memory is, started through the upper bytes of DSP', async () => {
  const machine = await reported(3, []);
  configure(machine, 3, 0x14, 0xe1068000);
  configure(machine, 3, 0x04, 7, 2);
  machine.bus.writeMemory(0xe106802e, 1, 0xff);
  machine.bus.writeMemory(0xe106802f, 1, 0xff);
  letRun(machine);
  assert.is(machine.bus.readMemory(0xe106800c, 1) & 0x7f, regs.LSI_DSTAT_BF);
});

for (const profile of ['lsi53c810', 'lsi53c895a']) {
  test(`public reports, byte for byte: a memory move onto the registers of the ${profile} itself`, async () => {
    const machine = await reported(1, [], profile);
    configure(machine, 1, 0x04, 7, 2);
    configure(machine, 1, 0x14, 0xff100000);
    configure(machine, 1, 0x18, 0xff000000);
    for (const [at, value] of [
      [0xff000000, 0xc0000024],
      [0xff000114, 0x00000080],
      [0xff00012c, 0xff000000],
      [0xff000004, 0xff000114],
      [0xff000008, 0xff100014],
      [0xff10002f, 0x000000ff],
    ] as const) {
      machine.bus.writeMemory(at, 4, value);
      letRun(machine);
    }
    machine.bus.writeMemory(0xff100014, 1, regs.LSI_ISTAT0_SRST);
    machine.bus.writeMemory(0xff100014, 1, 0);
    assert.is(machine.bus.readMemory(0xff10000c, 1), 0x80);
  });
}

test('public reports, byte for byte: messages out by SCRIPTS that unaligned words to the ports start', async () => {
  const places = [0x27510000, 0x36400000, 0x36d70000, 0x5a340000, 0x5a410000, 0x5a550000, 0x69730000];
  const machine = await reported(2, places);
  configure(machine, 2, 0x10, 0xc000);
  configure(machine, 2, 0x04, 5, 2);
  const { bus } = machine;
  const put = (bytes: readonly (readonly [number, number])[]): void => {
    for (const [at, value] of bytes) bus.writeMemory(at, 1, value);
  };
  const run = (dsp: number): void => {
    bus.writePort(0xc02d, 4, dsp >>> 8);
    letRun(machine);
  };
  put([
    [0x69736c10, 0x08],
    [0x69736c13, 0x58],
    [0x69736c1a, 0x01],
    [0x69736c1b, 0x06],
    [0x69736c22, 0x01],
    [0x69736c23, 0x07],
    [0x69736c2b, 0x02],
    [0x69736c48, 0x08],
    [0x69736c4b, 0x58],
    [0x69736c52, 0x04],
    [0x69736c53, 0x06],
    [0x69736c5b, 0x02],
  ]);
  run(0x69730000);
  put([
    [0x5a554662, 0x01],
    [0x5a554663, 0x07],
    [0x5a55466a, 0x10],
    [0x5a55466b, 0x22],
    [0x5a55466c, 0x5a],
    [0x5a55466d, 0x5a],
    [0x5a55466e, 0x34],
    [0x5a55466f, 0x5a],
    [0x5a345a5a, 0x77],
    [0x5a345a5b, 0x55],
    [0x5a345a5c, 0x51],
    [0x5a345a5d, 0x27],
    [0x27515577, 0x41],
  ]);
  run(0x5a550000);
  put([
    [0x364001d0, 0x08],
    [0x364001d3, 0x58],
    [0x364001da, 0x01],
    [0x364001db, 0x26],
    [0x364001dc, 0x0d],
    [0x364001dd, 0xae],
    [0x364001de, 0x41],
    [0x364001df, 0x5a],
    [0x5a41ae0d, 0xf8],
    [0x5a41ae0e, 0x36],
    [0x5a41ae0f, 0xd7],
    [0x5a41ae10, 0x36],
    [0x36d736f8, 0x0c],
    [0x36d736f9, 0x80],
    [0x36d736fa, 0x0d],
  ]);
  run(0x36400000);
  bus.writePort(0xc014, 1, regs.LSI_ISTAT0_SRST);
  bus.writePort(0xc014, 1, 0);
  assert.is(bus.readPort(0xc00c, 1), 0x80);
});
