// A guest that does anything: no access traps, nothing hangs, and after a reset the drives work.

import { PCI_COMMAND } from '../../assembly/bus/pci-regs.ts';
import { Random } from '../../src/kernel/random.ts';
import { assert, suite } from '../run/suite.ts';
import { ata, Ide, pattern, regs } from './ide.ts';

const test = suite('piix-ide: fuzz');

/** Steps of all runs; each is at least one access, a descriptor, a moment of time or a mishap. */
const STEPS = 4_000_000;
const PROFILES = ['piix4', 'piix3', 'piix-128prd', 'piix3-pc'];
/** Steps after which the controller is reset and must work. */
const CHECK_EVERY = 20_000;
const PLACES = [
  [0, 0],
  [0, 1],
  [1, 0],
] as const;
const TABLE = 0x20000;

const COMMANDS = [
  ata.ATA_READ_DMA,
  ata.ATA_READ_DMA_EXT,
  ata.ATA_WRITE_DMA,
  ata.ATA_WRITE_DMA_EXT,
  ata.ATA_WRITE_DMA_FUA_EXT,
  ata.ATA_READ_SECTORS,
  ata.ATA_WRITE_SECTORS_EXT,
  ata.ATA_READ_MULTIPLE,
  ata.ATA_WRITE_MULTIPLE_EXT,
  ata.ATA_SET_MULTIPLE,
  ata.ATA_IDENTIFY,
  ata.ATA_DATA_SET_MANAGEMENT,
  ata.ATA_READ_LOG_EXT,
  ata.ATA_READ_LOG_DMA_EXT,
  ata.ATA_FLUSH_CACHE,
  ata.ATA_SMART,
  ata.ATA_READ_VERIFY_EXT,
  ata.ATA_EXECUTE_DIAGNOSTIC,
];

class Chaos {
  readonly random: Random;
  readonly ide: Ide;
  /** Words that went through the data ports. */
  words = 0;

  constructor(ide: Ide, seed: number) {
    this.ide = ide;
    this.random = new Random(seed);
  }

  /** Mostly in RAM, else anywhere, at the edges too. */
  address(): number {
    const { random } = this;
    const n = random.below(40);
    if (n === 0) return random.next();
    if (n === 1) return 0xffff_fff0 + random.below(16);
    if (n === 2) return 0x3f_fff0 + random.below(32);
    return 0x80000 + random.below(0x200000);
  }

  /** A table with some noise in it. */
  table(channel: number): void {
    const { random, ide } = this;
    const { memory } = ide.machine;
    const count = 1 + random.below(6);
    const at = random.below(30) === 0 ? 0x2ffe0 + 4 * random.below(8) : TABLE + channel * 0x10000;
    for (let i = 0; i < count; i++) {
      const entry = (at & ~0xffff) | ((at + 8 * i) & 0xfff8);
      const bytes = random.below(4) === 0 ? random.below(0x10000) : 512 * random.below(16);
      const last = i === count - 1 && random.below(10) > 0;
      memory.write32(entry, this.address());
      memory.write32(entry + 4, (bytes | (last ? regs.PRD_END : 0)) >>> 0);
    }
    const pointer = random.below(40) === 0 ? random.next() : at;
    ide.controller.write32(regs.PIIX_BAR_MASTER, channel * 8 + regs.MASTER_TABLE, pointer);
  }

  command(channel: number): void {
    const { random, ide } = this;
    ide.send(
      {
        command:
          random.below(12) === 0 ? random.below(256) : (COMMANDS[random.below(COMMANDS.length)] as number),
        drive: random.below(3) === 0 ? 1 : 0,
        lba: random.below(16) === 0 ? random.next() : random.below(512),
        count: random.below(20) === 0 ? random.below(0x10000) : random.below(20),
        feature: random.below(256),
        wide: random.below(2) === 0,
        ...(random.below(8) === 0 ? { device: random.below(256) } : {}),
      },
      channel,
    );
  }

  /** A few words through the data port. */
  data(channel: number): void {
    const { random, ide } = this;
    const status = ide.read(regs.IDE_STATUS, channel);
    const count = (status & ata.ATA_STATUS_DRQ) === 0 ? 1 : 1 + random.below(300);
    for (let i = 0; i < count; i++) {
      if (random.below(2) === 0) ide.controller.read32(2 * channel, 0);
      else ide.controller.write32(2 * channel, 0, i);
    }
    this.words += 2 * count;
  }

  register(): void {
    const { random, ide } = this;
    const { controller } = ide;
    const bar = random.below(5);
    const at = random.below(bar === regs.PIIX_BAR_MASTER ? 18 : 9);
    const value = random.below(3) === 0 ? random.next() : 1 << random.below(32);
    switch (random.below(6)) {
      case 0:
        // Software resets take time.
        if ((bar & 1) === 0 || random.below(10) === 0) controller.write8(bar, at, value);
        break;
      case 1:
        controller.write16(bar & 4, at, value);
        break;
      case 2:
        controller.write32(bar & 6, at, value);
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

  master(channel: number): void {
    const { random, ide } = this;
    const direction = random.below(2) === 0 ? regs.MASTER_TO_MEMORY : 0;
    if (random.below(3) === 0) ide.stop(channel);
    else ide.start(direction !== 0, channel);
  }

  mishap(): void {
    const { ide, random } = this;
    const { controller } = ide;
    const i = random.below(PLACES.length);
    const [channel, drive] = PLACES[i] as readonly [number, number];
    const disk = ide.disks[i];
    switch (random.below(8)) {
      case 0:
        controller.detachDisk(channel, drive);
        break;
      case 1:
        if (disk !== undefined) controller.attach(disk, channel, drive);
        break;
      case 2:
        controller.configWrite(PCI_COMMAND, 2, random.below(8));
        break;
      case 3:
        controller.configWrite(regs.PIIX_IDETIM + random.below(16), 1, random.below(256));
        break;
      case 4:
        controller.reset('function');
        break;
      default:
        this.repair();
    }
  }

  /** Puts everything into a state in which commands run. */
  repair(): void {
    const { ide } = this;
    ide.controller.enable();
    for (const [i, [channel, drive]] of PLACES.entries()) {
      const disk = ide.disks[i];
      if (disk !== undefined && ide.controller.diskAt(channel, drive) === undefined) {
        ide.controller.attach(disk, channel, drive);
      }
    }
    for (const channel of [0, 1]) {
      ide.stop(channel);
      ide.softReset(channel);
    }
  }

  step(): void {
    const { ide, random } = this;
    const channel = random.below(2);
    const n = random.below(1000);
    if (n < 300) this.register();
    else if (n < 400) this.table(channel);
    else if (n < 550) this.command(channel);
    else if (n < 700) this.master(channel);
    else if (n < 720) this.data(channel);
    else if (n < 990) ide.machine.advance(ide.machine.now() + random.below(3000));
    else if (n < 997) this.repair();
    else this.mishap();
  }

  /** Resets everything; every drive then writes and reads. */
  check(seed: number): void {
    const { ide } = this;
    const { memory } = ide.machine;
    ide.controller.reset('power-on');
    this.repair();
    for (const [i, [channel, drive]] of PLACES.entries()) {
      const bytes = pattern(8192, seed + i);
      const prds = [
        { address: 0x60000, bytes: 3000 },
        { address: 0x60bb8, bytes: 5192 },
      ];
      const task = { drive, lba: 64, count: 16, wide: true };
      memory.writeBytes(0x60000, bytes);
      const written = ide.dma({ ...task, command: ata.ATA_WRITE_DMA_EXT }, false, prds, channel);
      assert.equal([written, ide.read(7, channel)], [regs.MASTER_INTERRUPT, ata.ATA_STATUS_GOOD]);
      assert.equal(ide.disks[i]?.read(64 * 512, 8192), bytes);
      memory.fill(0x60000, 0, 8192);
      const got = ide.dma({ ...task, command: ata.ATA_READ_DMA_EXT }, true, prds, channel);
      assert.equal([got, ide.read(7, channel)], [regs.MASTER_INTERRUPT, ata.ATA_STATUS_GOOD]);
      assert.ok(memory.equals(0x60000, bytes));
    }
  }
}

for (const [seed, profile] of PROFILES.entries()) {
  test(`seed ${seed}: no access traps, and after a reset the drives work`, async () => {
    const ide = await Ide.create({ flavour: 'debug', profile, places: PLACES, diskBytes: 2 ** 18 });
    const chaos = new Chaos(ide, seed + 1);
    const steps = STEPS / PROFILES.length;
    for (let i = 1; i <= steps; i++) {
      chaos.step();
      if (i % CHECK_EVERY === 0) chaos.check(i);
    }
    const { commands, completions, dmaFaults, dmaWriteBytes } = ide.controller.counters;
    assert.ok(commands > steps / 50, `only ${commands} commands were taken`);
    assert.ok(completions > commands / 4, `only ${completions} of ${commands} commands ended`);
    assert.ok(dmaFaults > 0 && dmaWriteBytes > steps && chaos.words > steps / 10);
  });
}
