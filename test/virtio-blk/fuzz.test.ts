// A guest that does anything: no access traps, nothing hangs, and after a reset the disk works.

import { PCI_COMMAND } from '../../assembly/bus/pci-regs.ts';
import { Random } from '../../src/kernel/random.ts';
import { assert, suite } from '../run/suite.ts';
import { DATA, pattern, RAM_END, REQUESTS, Rig, regs, TABLES } from './rig.ts';

const test = suite('virtio-blk: fuzz');

/** Steps of all runs; each is a register access, a descriptor, a ring entry, a moment of time or a mishap. */
const STEPS = 2_400_000;
/** Steps after which the device is reset and must work. */
const CHECK_EVERY = 30_000;
const QUEUES = 4;
const LATENCY_NS = 2000;
const TYPES = [regs.BLK_T_IN, regs.BLK_T_OUT, regs.BLK_T_FLUSH, regs.BLK_T_GET_ID, regs.BLK_T_DISCARD, 13, 2];
const FEATURES = 0xffffffff;

class Chaos {
  readonly random: Random;
  readonly rig: Rig;
  readonly high: number;

  constructor(rig: Rig, seed: number, high: number) {
    this.rig = rig;
    this.random = new Random(seed);
    this.high = high;
  }

  /** An address: mostly in RAM that matters, else anywhere, at the edges too. */
  address(): number {
    const { random } = this;
    switch (random.below(40)) {
      case 0:
        return RAM_END - random.below(32);
      case 1:
        return random.next();
      case 2:
        return 0xffff_fff0 + random.below(32);
      case 3:
        return 0x1_0000_0000 * random.below(0x200000) + random.next();
      // The device's own registers, and its rings.
      case 4:
        return 0xfe00_0000 + random.below(0x8000);
      case 5:
        return this.rig.desc(random.below(QUEUES)) + random.below(0x2000);
      case 6:
        return TABLES + 16 * random.below(64);
      default:
        return DATA + random.below(0x20000);
    }
  }

  length(): number {
    const { random } = this;
    const n = random.below(30);
    if (n === 0) return random.next();
    if (n < 3) return random.below(8192);
    return n < 6 ? 0 : 512 * (1 + random.below(8));
  }

  header(): number {
    const { random, rig } = this;
    const at = REQUESTS + 32 * random.below(64);
    const type = random.below(40) === 0 ? random.next() : (TYPES[random.below(TYPES.length)] as number);
    const high = random.below(60) === 0 ? random.next() : 0;
    rig.machine.memory.write4x32(at, type, 0, random.below(2100), high);
    return at;
  }

  /** A chain that could be right; some words of it are noise. */
  chain(): void {
    const { random, rig } = this;
    const queue = random.below(QUEUES);
    const write = random.below(2) === 0;
    const data = Array.from({ length: random.below(5) }, () => ({
      address: this.address(),
      bytes: this.length(),
      write,
    }));
    const odd = random.below(400) === 0 ? { flags: random.below(65536), next: random.below(140) } : {};
    const head = { address: this.header(), bytes: random.below(50) === 0 ? random.below(20) : 16, ...odd };
    const status = {
      address: REQUESTS + 0x4000 + random.below(64),
      bytes: 1,
      write: random.below(300) !== 0,
    };
    const table = random.below(2) === 0 ? TABLES + 256 * random.below(16) : 0;
    rig.add([head, ...data, status], queue, table);
    const { memory } = rig.machine;
    if (random.below(500) === 0) memory.write32(rig.desc(queue) + 4 * random.below(1200), random.next());
    if (random.below(300) === 0) memory.write32(TABLES + 4 * random.below(1024), random.next());
    if (random.below(3) !== 0) rig.notify(queue);
  }

  register(): void {
    const { random, rig } = this;
    const { controller } = rig;
    const bar = [0, 1, 4, 4, 4, 4][random.below(6)] as number;
    const common = random.below(3) !== 0;
    const at = bar === 4 ? (common ? random.below(0x40) : random.below(0x4010)) : random.below(0x900);
    const value = random.below(2) === 0 ? random.next() : random.below(6);
    // A reset now and then is enough.
    const resets = (bar === 4 && at <= regs.VIRTIO_STATUS && at + 4 > regs.VIRTIO_STATUS) || bar === 0;
    if (resets && random.below(8) !== 0) return;
    switch (random.below(6)) {
      case 0:
        controller.write8(bar, at, value);
        break;
      case 1:
        controller.write16(bar, at & ~1, value);
        break;
      case 2:
        controller.write32(bar, at & ~3, value);
        break;
      case 3:
        controller.read8(bar, at);
        break;
      case 4:
        controller.read16(bar, at);
        break;
      default:
        controller.read32(bar, at);
    }
  }

  repair(): void {
    const { rig, random } = this;
    const { controller } = rig;
    controller.configWrite(regs.VIRTIO_CAP_AT_PM + 4, 2, 0);
    controller.configWrite(PCI_COMMAND, 2, 7);
    if (controller.diskAt(0) === undefined) controller.attach(rig.disk, 0);
    rig.start(random.below(2) === 0 ? FEATURES : random.next(), this.high);
  }

  mishap(): void {
    const { rig, random } = this;
    const { controller } = rig;
    switch (random.below(5)) {
      case 0:
        controller.detachDisk(0);
        break;
      case 1:
        controller.configWrite(PCI_COMMAND, 2, random.below(8) | (random.below(2) << 10));
        break;
      case 2:
        controller.configWrite(0x40 + random.below(0x70), 1, random.below(256));
        break;
      case 3:
        controller.configRead(0x40 + 2 * random.below(0x38), 4);
        break;
      default:
        controller.configWrite(regs.VIRTIO_CAP_AT_MSIX + 2, 2, random.next() & 0xffff);
    }
  }

  step(): void {
    const { rig, random } = this;
    const n = random.below(1000);
    if (n < 400) this.register();
    else if (n < 850) this.chain();
    else if (n < 950) rig.machine.advance(rig.machine.now() + random.below(2 * LATENCY_NS));
    else if (n < 960 || (rig.status & regs.VIRTIO_NEEDS_RESET) !== 0) this.repair();
    else if (n < 965) this.mishap();
    else rig.isr();
  }

  /** Resets everything; the disk then writes and reads. */
  check(seed: number): void {
    const { rig } = this;
    const { memory } = rig.machine;
    rig.controller.reset('power-on');
    rig.machine.settle();
    rig.controller.enable();
    rig.controller.attach(rig.disk, 0);
    rig.start(FEATURES, this.high);
    const bytes = pattern(4096, seed);
    memory.writeBytes(DATA, bytes);
    const out = [
      { address: DATA, bytes: 1000 },
      { address: DATA + 1000, bytes: 3096 },
    ];
    assert.is(rig.run(regs.BLK_T_OUT, 64, out, TABLES), regs.BLK_S_OK);
    assert.equal(rig.disk.read(64 * 512, 4096), bytes);
    memory.fill(DATA, 0, 4096);
    const back = out.map((segment) => ({ ...segment, write: true }));
    assert.is(rig.run(regs.BLK_T_IN, 64, back, TABLES), regs.BLK_S_OK);
    assert.ok(memory.equals(DATA, bytes));
  }
}

const RUNS: readonly [string, number][] = [
  ['split', 0],
  ['packed', regs.VIRTIO_F_RING_PACKED],
];

for (const [seed, [name, high]] of RUNS.entries()) {
  test(`${name} rings: no access traps, and after a reset the disk works`, async () => {
    const rig = await Rig.create({
      flavour: 'debug',
      parameters: { queues: QUEUES, packed: true, vectors: 5 },
      disk: { latencyNs: LATENCY_NS },
    });
    const chaos = new Chaos(rig, seed + 1, high);
    for (let i = 1; i <= STEPS / RUNS.length; i++) {
      chaos.step();
      if (i % CHECK_EVERY === 0) chaos.check(i);
    }
    const { commands, completions, dmaFaults } = rig.controller.counters;
    assert.ok(commands > STEPS / RUNS.length / 50, `only ${commands} requests were fetched`);
    assert.ok(completions > commands / 4, `only ${completions} of ${commands} requests ended`);
    assert.ok(dmaFaults > 0);
  });
}
