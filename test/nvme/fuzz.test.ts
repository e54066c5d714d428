// A guest that does anything: no access traps, nothing hangs, and after a reset the disks work.

import { Random } from '../../src/kernel/random.ts';
import { assert, suite } from '../run/suite.ts';
import { Board, blocks, DATA, HOLE, pattern, regs } from './board.ts';

const test = suite('nvme: fuzz');

/** Register accesses and commands of one run. */
const STEPS = 1_000_000;
const PROFILES = ['nvme', 'nvme-26lines', 'nvme-mdts1', 'nvme-nosgl', 'nvme-cmb', 'nvme-pmr'];
const CHECK_EVERY = 50_000;
const QUEUES = 3;
const IO = [
  regs.NVME_FLUSH,
  regs.NVME_WRITE,
  regs.NVME_READ,
  regs.NVME_READ,
  regs.NVME_COMPARE,
  regs.NVME_WRITE_ZEROES,
  regs.NVME_DSM,
  regs.NVME_VERIFY,
];
const ADMIN = [
  regs.NVME_ADMIN_DELETE_SQ,
  regs.NVME_ADMIN_CREATE_SQ,
  regs.NVME_ADMIN_CREATE_SQ,
  regs.NVME_ADMIN_GET_LOG_PAGE,
  regs.NVME_ADMIN_DELETE_CQ,
  regs.NVME_ADMIN_CREATE_CQ,
  regs.NVME_ADMIN_CREATE_CQ,
  regs.NVME_ADMIN_IDENTIFY,
  regs.NVME_ADMIN_ABORT,
  regs.NVME_ADMIN_SET_FEATURES,
  regs.NVME_ADMIN_GET_FEATURES,
  regs.NVME_ADMIN_ASYNC_EVENT,
  regs.NVME_ADMIN_FIRMWARE_COMMIT,
  regs.NVME_ADMIN_FIRMWARE_DOWNLOAD,
  regs.NVME_ADMIN_FORMAT,
];

class Chaos {
  readonly random: Random;
  readonly board: Board;

  constructor(board: Board, seed: number) {
    this.board = board;
    this.random = new Random(seed);
  }

  pick<T>(of: readonly T[]): T {
    return of[this.random.below(of.length)] as T;
  }

  /** An address: mostly a page of data, else anywhere. */
  address(): number {
    const { random } = this;
    switch (random.below(40)) {
      case 0:
        return random.next();
      case 1:
        return HOLE + random.below(0x10000);
      case 2:
        return 0x1_0000_0000 * random.below(0x200000) + random.next();
      case 3:
        return 0xfe00_0000 + random.below(0x100000);
      case 4:
      case 5:
      case 6:
        return DATA + random.below(0x40000);
      default:
        return DATA + 4096 * random.below(64);
    }
  }

  /** Lists of PRPs and SGL descriptors that may be right, where commands look for them. */
  list(): void {
    const { random } = this;
    const { memory } = this.board.machine;
    const at = DATA + 16 * random.below(0x4000);
    for (let i = 0; i < 1 + random.below(4); i++) {
      const address = this.address();
      memory.write32(at + 16 * i, address % 2 ** 32);
      memory.write32(at + 16 * i + 4, Math.floor(address / 2 ** 32));
      const type = this.pick([0, 0, 0x10, 0x20, 0x30, 0x40, random.below(256)]);
      memory.write32(at + 16 * i + 8, this.pick([16, 512, 4096, 64, random.below(0x20000)]));
      memory.write32(at + 16 * i + 12, type << 24);
    }
  }

  command(): void {
    const { random, board } = this;
    const id = random.below(4) === 0 ? 0 : 1 + random.below(QUEUES);
    const opcode = random.below(30) === 0 ? random.below(256) : this.pick(id === 0 ? ADMIN : IO);
    const nsid = random.below(20) === 0 ? this.pick([0, 9, 0xffffffff, random.next()]) : 1 + random.below(2);
    const dwords: Record<number, number> = {
      10: random.below(2000),
      12: random.below(random.below(5) === 0 ? 0x10000 : 16),
    };
    if (id === 0) {
      dwords[10] = this.pick([random.below(8) | (random.below(70) << 16), random.below(256), random.next()]);
      dwords[11] = this.pick([1, 3, ((1 + random.below(3)) << 16) | 3, random.next(), random.below(256)]);
    } else if (random.below(10) === 0) dwords[11] = random.next();
    if (opcode === regs.NVME_DSM) {
      dwords[10] = random.below(8);
      dwords[11] = 4;
    }
    if (id === 0 && opcode === regs.NVME_ADMIN_FORMAT && random.below(10) !== 0) return;
    const flags = random.below(4) === 0 ? this.pick([0x40, 0x40, 0x80, random.below(256)]) : 0;
    board.push(id, {
      opcode,
      nsid,
      prp1: this.address(),
      prp2: this.pick([0, this.address()]),
      flags,
      dwords,
      cid: random.below(64),
    });
    if (flags === 0x40)
      board.machine.memory.write8(board.submissions(id) + 39, this.pick([0, 0x10, 0x20, 0x30]));
    if (random.below(3) === 0) board.ring(id);
  }

  register(): void {
    const { random, board } = this;
    const { controller } = board;
    const value = random.below(2) === 0 ? random.next() : 1 << random.below(32);
    const at = random.below(3) === 0 ? random.below(0x4000) : regs.NVME_DOORBELLS + 4 * random.below(12);
    // What ends everything is rare.
    if (at >= 0x14 && at < 0x38 && random.below(100) !== 0) return;
    switch (random.below(8)) {
      case 0:
        controller.write8(0, at, value);
        break;
      case 1:
        controller.write16(0, at, value);
        break;
      case 2:
        controller.write32(0, at & ~3, value);
        break;
      case 3:
        controller.write32(0, at & ~3, random.below(64));
        break;
      default:
        controller.read32(0, at);
    }
  }

  /** Controller memory: where its BAR is, or anywhere; and bytes in it. */
  memory(): void {
    const { random, board } = this;
    const base = random.below(4) === 0 ? this.address() : 0xfe00_0000 + 0x40000 * random.below(4);
    const register = this.pick([regs.NVME_CMBMSC, regs.NVME_PMRMSCL]);
    board.write(regs.NVME_PMRCTL, random.below(8) === 0 ? 0 : 1);
    board.write(register + 4, Math.floor(base / 2 ** 32));
    board.write(register, (base & ~0xfff) | this.pick([3, 3, 3, random.below(0x1000)]));
    board.controller.write32(this.pick([2, 4]), random.below(0x41000), random.next());
    board.controller.read16(this.pick([2, 4]), random.below(0x41000));
  }

  repair(): void {
    const { board } = this;
    board.controller.configWrite(regs.NVME_CAP_AT_PM + 4, 2, 0);
    board.controller.configWrite(4, 2, 7);
    for (const [place, disk] of board.disks.entries()) board.controller.attach(disk, place);
    board.enable(this.random.below(2) << regs.NVME_CC_AMS_SHIFT);
    for (let id = 1; id <= QUEUES; id++) this.tryQueue(id);
  }

  tryQueue(id: number): void {
    try {
      this.board.makeQueue(id, 64, id - 1);
    } catch {
      // A fault of the plan before may have left the controller without bus mastering: the next repair helps.
    }
  }

  step(): void {
    const { random, board } = this;
    const n = random.below(10000);
    if (n < 4500) this.register();
    else if (n < 8500) this.command();
    else if (n < 9200) this.list();
    else if (n < 9300) this.memory();
    else if (n < 9700) board.machine.advance(board.machine.now() + random.below(40_000));
    else if (n < 9960) for (let id = 0; id <= QUEUES; id++) board.take(id);
    else if (n < 9995) this.repair();
    else if (n < 9998) board.controller.detachDisk(random.below(2));
    else board.controller.configWrite(4, 2, random.below(8) | (random.below(2) << 10));
  }

  /** Resets everything; both disks then write and read. */
  check(seed: number): void {
    const { board } = this;
    board.controller.reset('power-on');
    board.controller.enable();
    for (const [place, disk] of board.disks.entries()) {
      board.controller.detachDisk(place);
      board.controller.attach(disk, place);
    }
    board.start();
    const { memory } = board.machine;
    for (const [place, disk] of board.disks.entries()) {
      const bytes = pattern(8192, seed + place);
      memory.writeBytes(DATA, bytes);
      const write = blocks(regs.NVME_WRITE, 64, 16, DATA, DATA + 4096);
      assert.is(board.io({ ...write, nsid: place + 1 }).status, 0);
      assert.equal(disk.read(64 * 512, 8192), bytes);
      memory.fill(DATA, 0, 8192);
      assert.is(board.io({ ...write, opcode: regs.NVME_READ, nsid: place + 1 }).status, 0);
      assert.ok(memory.equals(DATA, bytes));
    }
  }
}

for (const [i, profile] of PROFILES.entries()) {
  test(`seed ${i + 1}: ${profile}: no access traps, and after a reset the disks work`, async () => {
    const board = await Board.create({ flavour: 'debug', profile, disks: 2, diskBytes: 2 ** 19 });
    const chaos = new Chaos(board, i + 1);
    for (let step = 1; step <= STEPS / PROFILES.length; step++) {
      chaos.step();
      if (step % CHECK_EVERY === 0) chaos.check(step);
    }
    chaos.check(i);
    const { commands, completions, dmaFaults } = board.controller.counters;
    assert.ok(commands > STEPS / PROFILES.length / 50, `only ${commands} commands were fetched`);
    assert.ok(completions > commands / 4, `only ${completions} of ${commands} commands ended`);
    assert.ok(dmaFaults > 0);
  });
}
