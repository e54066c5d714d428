// A guest that does anything: no access traps, nothing hangs, and after a reset the disks work.

import { PCI_COMMAND } from '../../assembly/bus/pci-regs.ts';
import { Random } from '../../src/kernel/random.ts';
import { assert, suite } from '../run/suite.ts';
import { ata, Hba, pattern, regs } from './hba.ts';

const test = suite('ahci: fuzz');

/** Steps of one run; each is a register access, a descriptor, a moment of time or a mishap. */
const STEPS = 1_000_000;
const RUNS = 4;
/** Steps after which the controller is reset and must work. */
const CHECK_EVERY = 20_000;

const COMMANDS = [
  ata.ATA_READ_DMA_EXT,
  ata.ATA_WRITE_DMA_EXT,
  ata.ATA_READ_FPDMA_QUEUED,
  ata.ATA_READ_FPDMA_QUEUED,
  ata.ATA_WRITE_FPDMA_QUEUED,
  ata.ATA_READ_SECTORS,
  ata.ATA_WRITE_MULTIPLE_EXT,
  ata.ATA_IDENTIFY,
  ata.ATA_DATA_SET_MANAGEMENT,
  ata.ATA_READ_LOG_EXT,
  ata.ATA_FLUSH_CACHE,
  ata.ATA_SET_MULTIPLE,
  ata.ATA_SMART,
  ata.ATA_READ_VERIFY_EXT,
];

class Chaos {
  readonly random: Random;
  readonly hba: Hba;

  constructor(hba: Hba, seed: number) {
    this.hba = hba;
    this.random = new Random(seed);
  }

  pick<T>(of: readonly T[]): T {
    return of[this.random.below(of.length)] as T;
  }

  /** An address: mostly in low RAM, else anywhere, at the edges too. */
  address(): number {
    const { random } = this;
    switch (random.below(60)) {
      case 0:
        return 2 ** 32 + random.below(0x40000);
      case 1:
        return random.next();
      case 2:
        return 0xffff_fff0 + random.below(32);
      case 3:
        return 0x1_0000_0000 * random.below(0x200000) + random.next();
      // The controller's own registers.
      case 4:
        return 0xfe00_0000 + random.below(0x2000);
      default:
        return random.below(0x40000) * 2;
    }
  }

  /** Structures that could be right: a header, a frame, descriptors; some words of it are noise. */
  descriptor(): void {
    const { random, hba } = this;
    const port = random.below(2);
    const slot = random.below(32);
    const prds = Array.from({ length: random.below(9) }, () => ({
      address: this.address(),
      bytes: 1 + (random.below(4) === 0 ? random.below(0x400000) : random.below(8192)),
      interrupt: random.below(2) === 0,
    }));
    hba.prepare(
      slot,
      {
        command: random.below(8) === 0 ? random.below(256) : this.pick(COMMANDS),
        lba: random.below(16) === 0 ? random.next() : random.below(256),
        count: random.below(4) === 0 ? random.below(0x10000) : (slot << 3) | random.below(8),
        feature: random.below(4) === 0 ? random.below(0x10000) : random.below(32),
        device: random.below(256),
        flags: random.below(12) === 0 ? random.below(256) : regs.FIS_COMMAND,
        type: random.below(40) === 0 ? random.below(256) : regs.FIS_REGISTER_H2D,
        control: random.below(256),
        header: random.below(4) === 0 ? random.below(0x10000) & ~31 : 0,
        dwords: random.below(20) === 0 ? random.below(32) : 5,
      },
      prds,
      port,
    );
    const { memory } = hba.machine;
    if (random.below(8) === 0) memory.write32(hba.table(slot, port) + 4 * random.below(64), random.next());
    if (random.below(20) === 0) memory.write32(hba.list(port) + 4 * random.below(256), random.next());
  }

  doorbell(): void {
    const { random, hba } = this;
    const port = random.below(2);
    const bits = random.below(4) === 0 ? random.next() : 1 << random.below(32);
    if (random.below(2) === 0) hba.setPx(regs.AHCI_PX_SACT, bits, port);
    hba.setPx(regs.AHCI_PX_CI, bits, port);
  }

  register(): void {
    const { random, hba } = this;
    const bar = random.below(20) === 0 ? regs.AHCI_INDEX_BAR : regs.AHCI_BAR;
    const at = random.below(3) === 0 ? random.below(0x1100) : regs.AHCI_PORTS + random.below(0x100);
    const value = random.below(3) === 0 ? random.next() : 1 << random.below(32);
    // A reset of the HBA now and then is enough.
    if (at < 8 && random.below(20) !== 0) return;
    switch (random.below(6)) {
      case 0:
        hba.controller.write8(bar, at, value);
        break;
      case 1:
        hba.controller.write16(bar, at, value);
        break;
      case 2:
        hba.controller.write32(bar, at, value);
        break;
      case 3:
        hba.controller.write32(bar, at & ~3, value);
        break;
      case 4:
        hba.controller.read16(bar, at);
        break;
      default:
        hba.controller.read32(bar, at);
    }
  }

  /** Brings a port into a state in which commands run. */
  repair(): void {
    const { hba, random } = this;
    const port = random.below(2);
    const disk = hba.disks[port];
    if (random.below(2) === 0 && disk !== undefined) {
      hba.controller.configWrite(regs.AHCI_CAP_AT_PM + 4, 2, 0);
      hba.controller.configWrite(PCI_COMMAND, 2, 7);
      if (hba.controller.diskAt(port) === undefined) hba.controller.attach(disk, port);
    }
    hba.write(regs.AHCI_GHC, regs.AHCI_GHC_AE | regs.AHCI_GHC_IE);
    if (random.below(3) === 0 || (hba.px(regs.AHCI_PX_SSTS, port) & 15) !== 3) {
      hba.setPx(regs.AHCI_PX_CMD, 0, port);
      hba.setPx(regs.AHCI_PX_SCTL, regs.AHCI_DET_RESET, port);
      hba.setPx(regs.AHCI_PX_SCTL, 0, port);
      hba.machine.advance(hba.machine.now() + 300_000);
    }
    hba.startPort(port);
  }

  mishap(): void {
    const { hba, random } = this;
    const disk = hba.disks[random.below(2)];
    switch (random.below(6)) {
      case 0:
        hba.controller.detachDisk(random.below(2));
        break;
      case 1:
      case 2:
        if (disk !== undefined) hba.controller.attach(disk, hba.disks.indexOf(disk));
        break;
      case 3:
        hba.controller.configWrite(PCI_COMMAND, 2, random.below(8) | (random.below(2) << 10));
        break;
      case 4:
        hba.controller.configWrite(PCI_COMMAND, 2, 7);
        return;
      default:
        hba.controller.configWrite(0x70 + 4 * random.below(20), 2, random.next() & 0xffff);
    }
  }

  step(): void {
    const { hba, random } = this;
    const n = random.below(1000);
    if (n < 120) this.register();
    else if (n < 450) this.descriptor();
    else if (n < 750) this.doorbell();
    else if (n < 920) hba.machine.advance(hba.machine.now() + random.below(30_000));
    else if (n < 998) this.repair();
    else this.mishap();
  }

  /** Resets everything; both disks then write and read. */
  check(seed: number): void {
    const { hba } = this;
    hba.controller.reset('power-on');
    hba.controller.enable();
    for (const [place, disk] of hba.disks.entries()) {
      hba.controller.attach(disk, place);
      hba.machine.settle();
    }
    hba.start();
    for (const [port, disk] of hba.disks.entries()) {
      const bytes = pattern(8192, seed + port);
      const at = 0x60000;
      hba.machine.memory.writeBytes(at, bytes);
      const task = { lba: 64, count: 16 };
      const prds = [
        { address: at, bytes: 3000 },
        { address: at + 3000, bytes: 5192 },
      ];
      assert.is(hba.execute({ ...task, command: ata.ATA_WRITE_DMA_EXT }, prds, port), ata.ATA_STATUS_GOOD);
      assert.equal(disk.read(64 * 512, 8192), bytes);
      hba.machine.memory.fill(at, 0, 8192);
      assert.is(hba.execute({ ...task, command: ata.ATA_READ_DMA_EXT }, prds, port), ata.ATA_STATUS_GOOD);
      assert.ok(hba.machine.memory.equals(at, bytes));
    }
  }
}

for (let seed = 1; seed <= RUNS; seed++) {
  test(`seed ${seed}: no access traps, and after a reset the disks work`, async () => {
    const profile = ['ahci', 'ahci-32bit', 'ahci-26lines', 'ahci-q35'][seed - 1] as string;
    const hba = await Hba.create({ flavour: 'debug', profile, disks: 2 });
    const chaos = new Chaos(hba, seed);
    for (let i = 1; i <= STEPS / RUNS; i++) {
      chaos.step();
      if (i % CHECK_EVERY === 0) chaos.check(i);
    }
    chaos.check(seed);
    const { commands, completions, dmaFaults } = hba.controller.counters;
    assert.ok(commands > STEPS / RUNS / 100, `only ${commands} commands were fetched`);
    assert.ok(completions > commands / 4, `only ${completions} of ${commands} commands ended`);
    assert.ok(dmaFaults > 0);
  });
}
