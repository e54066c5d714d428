// The ports of both channels, the drives' registers, resets, interrupts and the configuration space.

import { PCI_COMMAND } from '../../assembly/bus/pci-regs.ts';
import { assert, suite } from '../run/suite.ts';
import { ata, Ide, pattern, regs } from './ide.ts';

const test = suite('piix-ide: registers');

const GOOD = ata.ATA_STATUS_GOOD;
const DRQ = GOOD | ata.ATA_STATUS_DRQ;
const BUSY = ata.ATA_STATUS_BSY | GOOD;

test('the configuration space is that of the chip', async () => {
  for (const [profile, device, ultra] of [
    ['piix3', 0x7010, 0],
    ['piix4', 0x7111, 0x0f],
  ] as const) {
    const { controller } = await Ide.create({ profile });
    assert.is(controller.configRead(0, 4), (device << 16) | 0x8086);
    assert.is(controller.configRead(8, 4) >>> 8, regs.PIIX_CLASS);
    assert.equal([...controller.bars()], [{ index: 4, kind: 'io', wide: false, bytes: 16 }]);
    assert.is(controller.configRead(0x3d, 1), 0);
    controller.configWrite(PCI_COMMAND, 2, 0xffff);
    assert.is(controller.configRead(PCI_COMMAND, 2), 5);
    controller.configWrite(regs.PIIX_IDETIM, 4, 0xa3078033);
    assert.is(controller.configRead(regs.PIIX_IDETIM, 4), 0xa3078033);
    controller.configWrite(regs.PIIX_UDMACTL, 4, 0xffffffff);
    assert.is(controller.configRead(regs.PIIX_UDMACTL, 1), ultra);
    assert.is(controller.configRead(regs.PIIX_UDMATIM, 2), ultra === 0 ? 0 : 0x3333);
  }
});

test('a channel decodes its ports only with IDETIM bit 15 and I/O decoding', async () => {
  const ide = await Ide.create({
    places: [
      [0, 0],
      [1, 0],
    ],
  });
  assert.is(ide.read(regs.IDE_STATUS, 1), GOOD);
  ide.controller.configWrite(regs.PIIX_IDETIM_SECONDARY, 2, 0x0000);
  assert.equal([ide.read(regs.IDE_STATUS, 1), ide.alternate(1)], [0xff, 0xff]);
  assert.is(ide.controller.read16(regs.PIIX_BAR_SECONDARY, 0), 0xffff);
  ide.write(regs.IDE_COUNT, 0x5a, 1);
  assert.is(ide.read(regs.IDE_STATUS), GOOD);
  ide.controller.configWrite(regs.PIIX_IDETIM_SECONDARY + 1, 1, 0x80);
  assert.is(ide.read(regs.IDE_COUNT, 1), 1);
  ide.controller.configWrite(PCI_COMMAND, 2, 4);
  assert.is(ide.read(regs.IDE_STATUS), 0xff);
});

test('a reset closes the channels, unless the profile says that they open by themselves', async () => {
  const ide = await Ide.create();
  ide.controller.reset('bus');
  assert.is(ide.controller.configRead(regs.PIIX_IDETIM, 4), 0);
  const profile = { ...ide.controller.profile, parameters: { enabled: 3 } };
  const open = await Ide.create({ profile });
  open.controller.reset('bus');
  assert.is(open.controller.configRead(regs.PIIX_IDETIM, 4), 0x80008000);
});

test('after a reset each drive shows the signature of a disk', async () => {
  const ide = await Ide.create({
    places: [
      [0, 0],
      [0, 1],
    ],
  });
  for (const drive of [0, 1]) {
    ide.select(drive);
    assert.equal(ide.registers().slice(0, 5), [1, 1, 1, 0, 0]);
    assert.is(ide.read(regs.IDE_STATUS), GOOD);
  }
  ide.execute({ command: ata.ATA_SET_FEATURES, drive: 1, feature: 0x99 });
  ide.softReset();
  assert.equal(ide.registers(), [1, 1, 1, 0, 0, 0]);
});

test('a channel without drives floats, with DD7 pulled down', async () => {
  const ide = await Ide.create();
  assert.equal(ide.registers(1), [0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f]);
  assert.equal([ide.read(regs.IDE_STATUS, 1), ide.alternate(1)], [0x7f, 0x7f]);
  assert.is(ide.controller.read16(regs.PIIX_BAR_SECONDARY, 0), 0xff7f);
  for (const command of [ata.ATA_IDENTIFY, ata.ATA_EXECUTE_DIAGNOSTIC]) ide.execute({ command }, 1);
  assert.is(ide.controller.counters.commands, 0);
});

test('the first drive answers for a second that is not there: status 0, its own registers', async () => {
  const ide = await Ide.create();
  ide.select(1);
  assert.equal([ide.read(regs.IDE_STATUS), ide.alternate()], [0, 0]);
  ide.write(regs.IDE_COUNT, 0x55);
  assert.is(ide.read(regs.IDE_COUNT), 0x55);
  ide.execute({ command: ata.ATA_IDENTIFY, drive: 1 });
  assert.is(ide.controller.counters.commands, 0);
  assert.not.ok(ide.irq());
  ide.select(0);
  assert.is(ide.read(regs.IDE_STATUS), GOOD);
  // A second drive alone: nobody answers for the first.
  const alone = await Ide.create({ places: [[0, 1]] });
  assert.is(alone.read(regs.IDE_STATUS), 0x7f);
  alone.select(1);
  assert.is(alone.read(regs.IDE_STATUS), GOOD);
});

test('registers hold what was written and, behind HOB, what was written before', async () => {
  const ide = await Ide.create();
  for (const register of [2, 3, 4, 5]) {
    ide.write(register, 0x10 + register);
    ide.write(register, 0x20 + register);
  }
  assert.equal(ide.registers().slice(1, 5), [0x22, 0x23, 0x24, 0x25]);
  ide.control(regs.IDE_CONTROL_HOB);
  assert.equal(ide.registers().slice(1, 5), [0x12, 0x13, 0x14, 0x15]);
  ide.write(regs.IDE_LBA_LOW, 0x33);
  assert.is(ide.read(regs.IDE_LBA_LOW), 0x33);
  assert.is(ide.controller.read32(regs.PIIX_BAR_PRIMARY, 2), 0x25243322);
});

test('reading the status ends the interrupt, reading the alternate status does not', async () => {
  const ide = await Ide.create({
    places: [
      [0, 0],
      [1, 0],
    ],
  });
  ide.send({ command: ata.ATA_FLUSH_CACHE });
  assert.is(ide.alternate(), BUSY);
  ide.machine.settle();
  assert.ok(ide.irq());
  assert.is(ide.alternate(), GOOD);
  assert.ok(ide.irq());
  assert.not.ok(ide.irq(1));
  assert.is(ide.read(regs.IDE_STATUS), GOOD);
  assert.not.ok(ide.irq());
  ide.send({ command: ata.ATA_FLUSH_CACHE }, 1);
  ide.machine.settle();
  assert.equal([ide.irq(0), ide.irq(1)], [false, true]);
  // A new command ends it too.
  ide.send({ command: ata.ATA_FLUSH_CACHE }, 1);
  assert.not.ok(ide.irq(1));
});

test('nIEN holds INTRQ back; it rises when nIEN goes', async () => {
  const ide = await Ide.create();
  ide.control(regs.IDE_CONTROL_NIEN);
  ide.send({ command: ata.ATA_FLUSH_CACHE });
  ide.machine.settle();
  assert.not.ok(ide.irq());
  assert.is(ide.master(regs.MASTER_STATUS), 0);
  ide.control(0);
  assert.ok(ide.irq());
  assert.is(ide.master(regs.MASTER_STATUS), regs.MASTER_INTERRUPT);
});

test('only the selected drive drives INTRQ', async () => {
  const ide = await Ide.create({
    places: [
      [0, 0],
      [0, 1],
    ],
  });
  ide.send({ command: ata.ATA_FLUSH_CACHE, drive: 1 });
  ide.machine.settle();
  assert.ok(ide.irq());
  ide.select(0);
  assert.not.ok(ide.irq());
  assert.is(ide.read(regs.IDE_STATUS), GOOD);
  ide.select(1);
  assert.ok(ide.irq());
});

test('the interrupt bit of the bus master is set by the rising edge, and cleared by a one', async () => {
  const ide = await Ide.create();
  ide.send({ command: ata.ATA_FLUSH_CACHE });
  ide.machine.settle();
  assert.is(ide.master(regs.MASTER_STATUS), regs.MASTER_INTERRUPT);
  ide.setMaster(regs.MASTER_STATUS, 0);
  assert.is(ide.master(regs.MASTER_STATUS), regs.MASTER_INTERRUPT);
  ide.setMaster(regs.MASTER_STATUS, regs.MASTER_INTERRUPT);
  assert.is(ide.master(regs.MASTER_STATUS), 0);
  assert.ok(ide.irq());
});

test('bus master registers: capable bits, no simplex, a dword-aligned table, nothing between', async () => {
  const { controller } = await Ide.create();
  controller.write32(regs.PIIX_BAR_MASTER, 0, 0xffffffff);
  // Start and direction; the start bit without a command makes it active.
  assert.is(controller.read32(regs.PIIX_BAR_MASTER, 0), 0x00610009);
  controller.write32(regs.PIIX_BAR_MASTER, 4, 0x12345677);
  assert.is(controller.read32(regs.PIIX_BAR_MASTER, 4), 0x12345674);
  controller.write8(regs.PIIX_BAR_MASTER, 0x0f, 0xab);
  controller.write16(regs.PIIX_BAR_MASTER, 0x0c, 0x1236);
  assert.is(controller.read32(regs.PIIX_BAR_MASTER, 0x0c), 0xab001234);
  controller.write8(regs.PIIX_BAR_MASTER, 0, 0);
  assert.is(controller.read32(regs.PIIX_BAR_MASTER, 0), 0x00600000);
});

test('SRST makes both drives busy until they have their signature, and ends what they did', async () => {
  const ide = await Ide.create({
    places: [
      [0, 0],
      [0, 1],
    ],
  });
  ide.machine.addFault({ disk: ide.disk, kind: 'delay', argument: 1e9 });
  ide.send({ command: ata.ATA_READ_SECTORS, count: 4 });
  ide.control(regs.IDE_CONTROL_SRST);
  assert.is(ide.alternate(), BUSY);
  ide.send({ command: ata.ATA_FLUSH_CACHE });
  ide.control(0);
  assert.is(ide.alternate(), BUSY);
  ide.machine.settle();
  assert.is(ide.alternate(), GOOD);
  assert.ok(ide.machine.now() < 1e8);
  assert.not.ok(ide.irq());
  assert.equal(ide.registers(), [1, 1, 1, 0, 0, 0]);
  assert.is(ide.controller.counters.commands, 1);
});

test('EXECUTE DEVICE DIAGNOSTIC is done by both drives, and the first interrupts', async () => {
  const ide = await Ide.create({
    places: [
      [0, 0],
      [0, 1],
    ],
  });
  ide.write(regs.IDE_COUNT, 0x77);
  ide.send({ command: ata.ATA_EXECUTE_DIAGNOSTIC, drive: 1 });
  ide.machine.settle();
  assert.ok(ide.irq());
  assert.equal(ide.registers(), [1, 1, 1, 0, 0, 0]);
  ide.select(1);
  assert.not.ok(ide.irq());
  assert.equal(ide.registers().slice(0, 5), [1, 1, 1, 0, 0]);
});

test('a packet device is not there: IDENTIFY PACKET aborts with the signature of a disk', async () => {
  const ide = await Ide.create();
  for (const command of [ata.ATA_IDENTIFY_PACKET, ata.ATA_PACKET, ata.ATA_DEVICE_RESET]) {
    ide.write(regs.IDE_LBA_MID, 0x14);
    assert.is(ide.execute({ command, lba: 0x991234, count: 9 }), GOOD | ata.ATA_STATUS_ERR);
    assert.equal(ide.registers().slice(0, 5), [ata.ATA_ERROR_ABRT, 1, 1, 0, 0]);
  }
});

test('a drive that sleeps answers to a reset alone', async () => {
  const ide = await Ide.create();
  assert.is(ide.execute({ command: ata.ATA_SLEEP }), GOOD);
  assert.is(ide.execute({ command: ata.ATA_IDENTIFY }), BUSY);
  ide.softReset();
  assert.is(ide.execute({ command: ata.ATA_IDENTIFY }), DRQ);
});

test('while a drive has a command its registers take nothing', async () => {
  const ide = await Ide.create();
  ide.execute({ command: ata.ATA_IDENTIFY, lba: 0x123456 });
  ide.write(regs.IDE_LBA_LOW, 0x99);
  ide.write(regs.IDE_DEVICE, regs.IDE_DEVICE_SECOND);
  ide.write(regs.IDE_COMMAND, ata.ATA_FLUSH_CACHE);
  assert.is(ide.alternate(), DRQ);
  ide.take(512);
  assert.is(ide.alternate(), GOOD);
  assert.is(ide.read(regs.IDE_LBA_LOW), 0x56);
});

test('pulling a drive out ends its command and its interrupt', async () => {
  const ide = await Ide.create();
  ide.send({ command: ata.ATA_FLUSH_CACHE });
  ide.machine.settle();
  assert.ok(ide.irq());
  ide.controller.detachDisk(0, 0);
  assert.not.ok(ide.irq());
  assert.is(ide.alternate(), 0x7f);
  ide.controller.attach(ide.disk, 0, 0);
  ide.send({ command: ata.ATA_READ_SECTORS, count: 1 });
  ide.controller.detachDisk(0, 0);
  ide.machine.settle();
  assert.not.ok(ide.irq());
  assert.throws(() => ide.controller.attach(ide.disk, 2, 0), /has no place/);
  assert.throws(() => ide.controller.attach(ide.disk, 0, 2), /has no place/);
});

test('two controllers share lines 14 and 15 with others, each holds its own', async () => {
  const ide = await Ide.create({
    places: [
      [0, 0],
      [1, 0],
    ],
  });
  const ahci = ide.machine.addController({ kind: 'ahci', line: 15 });
  const second = ide.machine.addController({ kind: 'piix-ide', line: 15 });
  const disk = ide.machine.addDisk({ bytes: 2 ** 16 });
  second.attach(disk, 0, 0);
  second.write8(regs.PIIX_BAR_PRIMARY, regs.IDE_COMMAND, ata.ATA_FLUSH_CACHE);
  ide.send({ command: ata.ATA_FLUSH_CACHE }, 1);
  ide.machine.settle();
  assert.is(ide.machine.irqLines, 1 << 15);
  assert.equal([...second.lines, ahci.line], [15, 16, 15]);
  second.read8(regs.PIIX_BAR_PRIMARY, regs.IDE_STATUS);
  assert.is(ide.machine.irqLines, 1 << 15);
  ide.read(regs.IDE_STATUS, 1);
  assert.is(ide.machine.irqLines, 0);
  assert.throws(() => ide.machine.addController({ kind: 'piix-ide', line: 31 }), /from 0 to 30/);
});

test('a power-on reset in the middle of a command leaves fresh drives', async () => {
  for (const kind of ['power-on', 'bus', 'function'] as const) {
    const ide = await Ide.create();
    ide.setTable([{ address: 0x1000, bytes: 512 }]);
    ide.send({ command: ata.ATA_READ_DMA, count: 1 });
    ide.start(true);
    ide.controller.reset(kind);
    ide.controller.enable();
    assert.equal([ide.master(0), ide.master(2), ide.alternate()], [0, 0, GOOD]);
    ide.machine.settle();
    assert.not.ok(ide.irq());
    const bytes = pattern(512, 4);
    ide.disk.write(0, bytes);
    ide.dma({ command: ata.ATA_READ_DMA, count: 1 }, true, [{ address: 0x1000, bytes: 512 }]);
    assert.ok(ide.machine.memory.equals(0x1000, bytes));
  }
});

test('the CPU finds the legacy ports, and the bus master where its BAR says', async () => {
  const ide = await Ide.create({
    places: [
      [0, 0],
      [1, 0],
    ],
  });
  const { bus } = ide.machine;
  for (const [channel, block, control] of [
    [0, 0x1f0, 0x3f6],
    [1, 0x170, 0x376],
  ] as const) {
    bus.writePort(control, 1, regs.IDE_CONTROL_NIEN);
    bus.writePort(block + regs.IDE_COMMAND, 1, ata.ATA_IDENTIFY);
    assert.is(bus.readPort(control, 1), DRQ);
    const low = bus.readPort(block, 4);
    assert.equal([low & 0xffff, low >>> 16], [0x0040, Math.floor(2048 / (16 * 63))]);
    bus.writePort(control, 1, 0);
    assert.ok(ide.irq(channel));
    assert.is(bus.readPort(block + regs.IDE_STATUS, 1), DRQ);
    assert.not.ok(ide.irq(channel));
  }
  const master = ide.controller.configRead(0x20, 2) & ~3;
  bus.writePort(master + 12, 4, 0x12345678);
  assert.is(ide.controller.read32(regs.PIIX_BAR_MASTER, 12), 0x12345678);
  // The floppy controller's port beside the control block is not ours.
  assert.is(bus.readPort(0x3f7, 1), 0xff);
});
