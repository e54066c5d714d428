// A guest that does anything: registers, SCRIPTS, messages. No access traps, nothing hangs, and after a reset the
// disks work.

import { Random } from '../../src/kernel/random.ts';
import { assemble, link } from '../../src/scripts/index.ts';
import { assert, suite } from '../run/suite.ts';
import { Chip, DATA, HOLE, PROGRAM, pattern, RAM_END, readTen, regs, TABLE, writeTen } from './chip.ts';

const test = suite('lsi53c895a: fuzz');

/** Register accesses, words of SCRIPTS and messages of one run. */
const STEPS = 1_000_000;
const CHECK_EVERY = 50_000;
const PROFILES = ['lsi53c895a', 'lsi53c895a-burst', 'lsi53c810', 'lsi53c895a-24lines', 'lsi53c895a-noram'];
const TARGETS = [0, 3];
const PROGRAM_WORDS = 256;
/** Programs that get somewhere, and their messages. */
const STARTED = PROGRAM + 0x4000;
const IDENTIFY = DATA + 0x100;
const CDB = DATA + 0x200;
const MESSAGES = [
  0x80, 0xc0, 0xc0, 0xc1, 0x20, 0x21, 0x22, 1, 2, 3, 4, 6, 5, 6, 7, 8, 9, 0x0c, 0x0d, 0x0e, 0x23,
];

/** SCRIPTS for a command; data goes in moves of `bytes` bytes. */
function dispatcher(target: number, messages: number, bytes: number, chained: boolean): string {
  const move = chained ? 'CHMOV' : 'MOVE';
  return `
    SELECT ATN ${target}, dispatch
    MOVE ${messages}, ${IDENTIFY}, WHEN MSG_OUT
  dispatch:
    JUMP msgin, WHEN MSG_IN
    JUMP sendcdb, IF CMD
    JUMP datain, IF DATA_IN
    JUMP dataout, IF DATA_OUT
    JUMP getstatus, IF STATUS
    MOVE 1, ${IDENTIFY}, WHEN MSG_OUT
    JUMP dispatch
  sendcdb:
    MOVE 10, ${CDB}, WHEN CMD
    JUMP dispatch
  datain:
    ${move} ${bytes}, ${DATA + 0x1000}, WHEN DATA_IN
    JUMP dispatch
  dataout:
    ${move} ${bytes}, ${DATA + 0x1000}, WHEN DATA_OUT
    JUMP dispatch
  getstatus:
    MOVE 1, ${DATA}, WHEN STATUS
    JUMP dispatch
  msgin:
    MOVE 1, ${DATA}, WHEN MSG_IN
    JUMP leave, IF 0x00
    JUMP leave, IF 0x04
    CLEAR ACK
    JUMP dispatch
  leave:
    MOVE SCNTL2 & 0x7f TO SCNTL2
    CLEAR ACK AND ATN
    WAIT DISCONNECT
    WAIT RESELECT dispatch
    JUMP dispatch
  `;
}

class Chaos {
  readonly random: Random;
  readonly #assembled = new Map<string, Uint32Array>();

  constructor(
    readonly chip: Chip,
    seed: number,
  ) {
    this.random = new Random(seed);
  }

  pick<T>(of: readonly T[]): T {
    return of[this.random.below(of.length)] as T;
  }

  /** Where a program, a table or data may be: mostly memory. */
  address(): number {
    const { random, chip } = this;
    switch (random.below(24)) {
      case 0:
        return random.next();
      case 1:
        return HOLE + random.below(0x1000);
      case 2:
        return chip.memoryBase + random.below(0x400);
      case 3:
        return chip.ramBase + 4 * random.below(0x800);
      case 4:
        return RAM_END - random.below(64);
      case 5:
      case 6:
        return PROGRAM + 4 * random.below(PROGRAM_WORDS);
      case 7:
      case 8:
        return TABLE + 4 * random.below(64);
      default:
        return DATA + random.below(0x8000);
    }
  }

  /** One instruction that may make sense: its words. */
  instruction(): number[] {
    const { random } = this;
    const jump = PROGRAM + 8 * random.below(PROGRAM_WORDS / 2);
    const phase = this.pick([0, 1, 2, 3, 6, 7, random.below(8)]) << 24;
    switch (random.below(16)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const count = this.pick([
          1,
          1,
          2,
          3,
          6,
          10,
          16,
          511,
          512,
          random.below(0x2000),
          random.below(0x1000000),
        ]);
        const mode = this.pick([0, 0, 0, 0x08, 0x10, 0x20, 0x30]);
        const to = mode >= 0x10 ? random.below(128) * 4 : this.address();
        return [((((mode | this.pick([0, 8])) << 24) | phase | count) >>> 0) & 0x3fffffff, to];
      }
      case 4:
      case 5: {
        const id = this.pick([0, 0, 3, 3, random.below(16)]) << 16;
        const flags = this.pick([0x01000000, 0x01000000, 0, 0x02000000, 0x04000000, 0x03000000]);
        return [(0x40000000 | flags | id) >>> 0, jump];
      }
      case 6:
        return [this.pick([0x48000000, 0x50000000]), jump];
      case 7:
        return [(0x58000000 + 0x08000000 * random.below(2)) | random.below(0x800), 0];
      case 8:
      case 9: {
        const register = random.below(256);
        const word = 0x68000000 + 0x08000000 * random.below(3) + 0x01000000 * random.below(8);
        return [word + ((register & 0x7f) << 16) + (register & 0x80) + 256 * random.below(256), 0];
      }
      case 10:
      case 11:
      case 12: {
        const what = this.pick([0x80, 0x80, 0x88, 0x90, 0x98]) * 0x1000000 + 0x10000 * random.below(256);
        return [what + (phase >>> 0) * random.below(2) + random.below(0x10000), jump];
      }
      case 13:
        return [
          0xc0000000 + random.below(2) * random.below(0x2000) + random.below(64),
          this.address(),
          this.address(),
        ];
      case 14: {
        const register = random.below(256);
        return [
          0xe0000000 + 0x1000000 * random.below(2) + register * 0x10000 + 1 + random.below(4),
          this.address(),
        ];
      }
      default:
        return [random.next(), random.next()];
    }
  }

  program(): void {
    const { random, chip } = this;
    const { memory } = chip.machine;
    let at = PROGRAM + 8 * random.below(PROGRAM_WORDS / 2);
    for (let i = 0; i < 1 + random.below(8) && at < PROGRAM + 4 * PROGRAM_WORDS; i++) {
      for (const word of this.instruction()) {
        memory.write32(at, word);
        at += 4;
      }
    }
  }

  /** A command that may be right, from the table's entries and in the data that block moves fetch. */
  command(): void {
    const { random, chip } = this;
    const { memory } = chip.machine;
    const messages = Array.from({ length: 1 + random.below(6) }, () =>
      this.pick([...MESSAGES, random.below(256)]),
    );
    const cdb = this.pick([
      readTen(random.below(2200), random.below(20)),
      writeTen(random.below(2200), random.below(20)),
      [0, 0, 0, 0, 0, 0],
      [0x12, 0, 0, 0, random.below(256), 0],
      [0x03, 0, 0, 0, random.below(64), 0],
      Array.from({ length: 16 }, () => random.below(256)),
    ]);
    memory.writeBytes(DATA + 64 * random.below(4), Uint8Array.from(random.below(3) === 0 ? messages : cdb));
    const entry = TABLE + 8 * random.below(32);
    const high = this.pick([0, 0, 0, 1, random.below(32), random.below(256)]) * 0x1000000;
    memory.write32(entry, high + this.pick([1, 6, 10, 512, random.below(0x1000)]));
    memory.write32(entry + 4, this.address());
  }

  /** A program that gets somewhere: select, message, command, then the rest as the target wants it. */
  start(): void {
    const { random, chip } = this;
    const { memory } = chip.machine;
    if (random.below(2) === 0) this.repair();
    const block = this.pick([readTen, writeTen])(random.below(2100), 1 + random.below(16));
    const identify = [this.pick([0x80, 0xc0, 0xc0]), 0x20 + random.below(3), random.below(70)];
    if (random.below(4) === 0) identify.push(1, 2, 3, 1);
    if (random.below(8) === 0) identify.push(this.pick(MESSAGES), random.below(256));
    memory.writeBytes(IDENTIFY, Uint8Array.from(identify));
    memory.writeBytes(
      CDB,
      Uint8Array.from(random.below(4) === 0 ? [0x12, 0, 0, 0, 97, 0, 0, 0, 0, 0] : block),
    );
    const target = this.pick([...TARGETS, ...TARGETS, random.below(16)]);
    const length = this.pick([1, 3, identify.length]);
    const bytes = this.pick([1, 3, 77, 512, 1024, 4000]);
    const words = this.#dispatcher(target, length, bytes, random.below(2) === 0);
    for (const [i, word] of words.entries()) memory.write32(STARTED + 4 * i, word);
    chip.write32(regs.LSI_DSP, STARTED);
    chip.machine.advance(chip.machine.now() + random.below(60_000));
  }

  #dispatcher(target: number, messages: number, bytes: number, chained: boolean): Uint32Array {
    const key = [target, messages, bytes, chained].join();
    const known = this.#assembled.get(key);
    if (known !== undefined) return known;
    const words = link(assemble(dispatcher(target, messages, bytes, chained)), { base: STARTED });
    this.#assembled.set(key, words);
    return words;
  }

  register(): void {
    const { random, chip } = this;
    const { controller } = chip;
    const bar = this.pick([0, 1, 1]);
    const at = random.below(bar === 0 ? 0x100 : 0x400);
    const value = random.below(2) === 0 ? random.next() : 1 << random.below(32);
    // What stops everything is rare.
    const stops = [0x01, 0x14, 0x1a].includes(at & 0xff) || (at & 0xfc) === 0x14;
    if (stops && random.below(20) !== 0) return;
    switch (random.below(10)) {
      case 0:
        controller.write8(bar, at, value);
        break;
      case 1:
        controller.write16(bar, Math.min(at, (bar === 0 ? 0x100 : 0x400) - 2), value);
        break;
      case 2:
        controller.write32(bar, Math.min(at, (bar === 0 ? 0x100 : 0x400) - 4), value);
        break;
      case 3:
        controller.read16(bar, at & ~1);
        break;
      case 4:
        controller.read32(bar, at & ~3);
        break;
      default:
        controller.read8(bar, at);
    }
  }

  /** The registers that a driver keeps in order. */
  repair(): void {
    const { random, chip } = this;
    chip.controller.configWrite(4, 2, 7);
    chip.setUp();
    if (random.below(3) === 0) {
      chip.write(regs.LSI_SCNTL1, regs.LSI_SCNTL1_RST);
      chip.write(regs.LSI_SCNTL1, 0);
    }
    chip.write(regs.LSI_SCNTL3, this.pick([0x03, 0x0b]));
    chip.write(regs.LSI_CCNTL0, this.pick([0, 0x80, 0xa0, 0xe0]));
    chip.write(regs.LSI_CCNTL1, this.pick([0, 0, 1, 2, 6]));
    chip.write32(regs.LSI_PMJAD1, STARTED + 16);
    chip.write32(regs.LSI_PMJAD2, PROGRAM + 8 * random.below(PROGRAM_WORDS / 2));
    chip.write32(regs.LSI_DSA, TABLE);
  }

  step(): void {
    const { random, chip } = this;
    const { machine } = chip;
    const n = random.below(1000);
    if (n < 500) this.register();
    else if (n < 690) this.program();
    else if (n < 770) this.command();
    else if (n < 800) this.start();
    else if (n < 840) chip.write32(regs.LSI_DSP, PROGRAM + 8 * random.below(PROGRAM_WORDS / 2));
    else if (n < 900) {
      void chip.sist;
      chip.read(regs.LSI_DSTAT);
    } else if (n < 985) machine.advance(machine.now() + random.below(100_000));
    else if (n < 997) this.repair();
    else if (n < 998) chip.controller.detachDisk(this.pick(TARGETS));
    else if (n < 999) {
      for (const [i, disk] of chip.disks.entries()) chip.controller.attach(disk, TARGETS[i] as number);
    } else chip.controller.configWrite(4, 2, random.below(8) | (random.below(2) << 10));
  }

  /** Resets the chip and the bus; both disks then write and read. */
  check(seed: number): void {
    const { chip } = this;
    const { controller, machine } = chip;
    controller.configWrite(4, 2, 7);
    for (const [i, disk] of chip.disks.entries()) controller.attach(disk, TARGETS[i] as number);
    chip.setUp();
    chip.write(regs.LSI_SCNTL1, regs.LSI_SCNTL1_RST);
    chip.write(regs.LSI_SCNTL1, 0);
    machine.settle();
    void chip.sist;
    void chip.sist;
    for (const [i, disk] of chip.disks.entries()) {
      const target = TARGETS[i] as number;
      chip.clearAttention(target);
      const bytes = pattern(8192, seed + i);
      machine.memory.writeBytes(DATA, bytes);
      const out = { target, cdb: writeTen(64, 16), direction: 'out', segments: [[DATA, 8192]] } as const;
      assert.is(chip.execute(out).status, 0);
      assert.equal(disk.read(64 * 512, 8192), bytes);
      machine.memory.fill(DATA, 0, 8192);
      assert.is(chip.execute({ target, cdb: readTen(64, 16), segments: [[DATA, 8192]] }).status, 0);
      assert.ok(machine.memory.equals(DATA, bytes));
    }
  }
}

for (const [i, profile] of PROFILES.entries()) {
  test(`seed ${i + 1}: ${profile}: no access traps, and after a reset the disks work`, async () => {
    const chip = await Chip.create({ flavour: 'debug', profile, targets: TARGETS, latencyNs: 3000 });
    const chaos = new Chaos(chip, i + 1);
    for (let step = 1; step <= STEPS / PROFILES.length; step++) {
      chaos.step();
      if (step % CHECK_EVERY === 0) chaos.check(step);
    }
    chaos.check(i);
    const { commands, completions, dmaFaults } = chip.controller.counters;
    assert.ok(commands > STEPS / PROFILES.length / 150, `only ${commands} commands were fetched`);
    assert.ok(completions > commands / 3, `only ${completions} of ${commands} commands ended`);
    assert.ok(dmaFaults > 0);
  });
}
