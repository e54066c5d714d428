// The registers of a virtio block device: identity, features, status, queues, configuration, interrupts.

import {
  PCI_CAP_MSIX,
  PCI_CAP_VENDOR,
  PCI_CAPABILITIES,
  PCI_COMMAND,
  PCI_MSIX_ENABLE,
  PCI_MSIX_ENTRY_CONTROL,
  PCI_MSIX_ENTRY_DATA,
  PCI_MSIX_FUNCTION_MASK,
} from '../../assembly/bus/pci-regs.ts';
import { assert, suite } from '../run/suite.ts';
import { DATA, Rig, regs } from './rig.ts';

const test = suite('virtio-blk: registers');
const MSIX = regs.VIRTIO_CAP_AT_MSIX;
const WINDOW = regs.VIRTIO_CAP_AT_WINDOW;
const BASIC = regs.VIRTIO_ACKNOWLEDGE | regs.VIRTIO_DRIVER;

function capabilities(rig: Rig): number[] {
  const ids: number[] = [];
  for (let at = rig.controller.configRead(PCI_CAPABILITIES, 1); at !== 0; ) {
    const id = rig.controller.configRead(at, 1);
    ids.push(id === PCI_CAP_VENDOR ? 0x100 + rig.controller.configRead(at + 3, 1) : id);
    at = rig.controller.configRead(at + 1, 1);
  }
  return ids;
}

/** Entry `i` of the MSI-X table sends vector `0x40 + i`. */
function openVectors(rig: Rig, count: number): void {
  for (let i = 0; i < count; i++) {
    rig.controller.write32(1, 16 * i, 0xfee00000);
    rig.controller.write32(1, 16 * i + PCI_MSIX_ENTRY_DATA, 0x40 + i);
    rig.controller.write32(1, 16 * i + PCI_MSIX_ENTRY_CONTROL, 0);
  }
  rig.controller.configWrite(MSIX + 2, 2, PCI_MSIX_ENABLE);
}

function readSector(rig: Rig): number {
  return rig.run(regs.BLK_T_IN, 0, [{ address: DATA, bytes: 512, write: true }]);
}

test('4.1.2: ids, class and BARs of the transitional and the modern device', async () => {
  const old = await Rig.create({ cold: true });
  assert.is(old.controller.configRead(0, 4), 0x10011af4);
  assert.is(old.controller.configRead(8, 4), 0x01000000);
  assert.is(old.controller.configRead(0x2e, 2), 2);
  assert.equal(
    old.controller.bars().map(({ index, kind, wide, bytes }) => [index, kind, wide, bytes]),
    [
      [0, 'io', false, 0x80],
      [1, 'memory', false, 0x1000],
      [4, 'memory', true, 0x4000],
    ],
  );
  const modern = await Rig.create({ profile: 'virtio-blk-modern', cold: true });
  assert.is(modern.controller.configRead(0, 4), 0x10421af4);
  assert.is(modern.controller.configRead(8, 1), 1);
  assert.equal(
    modern.controller.bars().map(({ index }) => index),
    [1, 4],
  );
  assert.is(modern.controller.read32(0, 0), 0xffffffff);
});

test('4.1.4: every structure has a capability', async () => {
  const rig = await Rig.create({ cold: true });
  assert.equal(capabilities(rig), [0x101, 0x103, 0x104, 0x102, 0x105, 1, PCI_CAP_MSIX]);
  assert.is(rig.controller.configRead(regs.VIRTIO_CAP_AT_NOTIFY + 16, 4), 4);
});

test('4.1.4: with ports, notification and ISR status lie where the legacy interface has them', async () => {
  const rig = await Rig.create({ features: [0, regs.VIRTIO_F_VERSION_1], parameters: { ports: true } });
  const { controller } = rig;
  const place = (at: number) => [
    controller.configRead(at + regs.VIRTIO_CAP_BAR, 1),
    controller.configRead(at + regs.VIRTIO_CAP_OFFSET, 4),
    controller.configRead(at + regs.VIRTIO_CAP_BYTES, 4),
  ];
  assert.equal(place(regs.VIRTIO_CAP_AT_NOTIFY), [0, regs.LEGACY_QUEUE_NOTIFY, 2]);
  assert.is(controller.configRead(regs.VIRTIO_CAP_AT_NOTIFY + regs.VIRTIO_CAP_EXTRA, 4), 0, 'multiplier');
  assert.equal(place(regs.VIRTIO_CAP_AT_ISR), [0, regs.LEGACY_ISR, 1]);
  assert.equal(place(regs.VIRTIO_CAP_AT_COMMON), [4, 0, regs.VIRTIO_COMMON_BYTES]);
  assert.is(readSector(rig), regs.BLK_S_OK);
  assert.is(controller.read8(0, regs.LEGACY_ISR), regs.VIRTIO_ISR_QUEUE);
  assert.is(controller.read8(0, regs.LEGACY_ISR), 0, 'reading acknowledged it');
});

test('4.1.4.9: the window shows the ports, too, as far as there are any', async () => {
  const rig = await Rig.create({ features: [0, regs.VIRTIO_F_VERSION_1], parameters: { ports: true } });
  const { controller } = rig;
  const isr = (): number => {
    controller.configWrite(WINDOW + regs.VIRTIO_CAP_BAR, 1, regs.VIRTIO_BAR_LEGACY);
    controller.configWrite(WINDOW + regs.VIRTIO_CAP_OFFSET, 4, regs.LEGACY_ISR);
    controller.configWrite(WINDOW + regs.VIRTIO_CAP_BYTES, 4, 1);
    return controller.configRead(WINDOW + regs.VIRTIO_CAP_EXTRA, 1);
  };
  readSector(rig);
  assert.is(isr(), regs.VIRTIO_ISR_QUEUE);
  assert.is(isr(), 0);
  controller.configWrite(WINDOW + regs.VIRTIO_CAP_OFFSET, 4, regs.VIRTIO_LEGACY_BYTES);
  controller.configWrite(WINDOW + regs.VIRTIO_CAP_EXTRA, 1, 0xff);
  assert.is(controller.read8(0, regs.LEGACY_STATUS) & regs.VIRTIO_NEEDS_RESET, 0);
  assert.is(controller.configRead(WINDOW + regs.VIRTIO_CAP_EXTRA, 1), 0xff, 'nothing is shown behind them');
});

test('2.2: features that are not offered, or not complete, are refused', async () => {
  const rig = await Rig.create({ cold: true });
  const [low, high] = [rig.offered(0), rig.offered(1)];
  assert.is(high, regs.VIRTIO_F_VERSION_1);
  assert.is(rig.offered(2), 0);
  assert.ok(rig.negotiate(low, high));
  assert.ok(rig.negotiate(0, high));
  assert.not(rig.negotiate(low, 0));
  assert.not(rig.negotiate(low, high | regs.VIRTIO_F_RING_PACKED));
  assert.not(rig.negotiate(low | 1, high));
  rig.status = regs.VIRTIO_DRIVER_OK;
  assert.is(rig.status, BASIC, 'DRIVER_OK needs FEATURES_OK');
});

test('6.1: ACCESS_PLATFORM that is offered must be accepted', async () => {
  const rig = await Rig.create({ cold: true, parameters: { accessPlatform: true } });
  assert.is(rig.offered(1), regs.VIRTIO_F_VERSION_1 | regs.VIRTIO_F_ACCESS_PLATFORM);
  assert.not(rig.negotiate(0, regs.VIRTIO_F_VERSION_1));
  assert.ok(rig.negotiate(0, regs.VIRTIO_F_VERSION_1 | regs.VIRTIO_F_ACCESS_PLATFORM));
});

test('4.1.4.3: features stay once FEATURES_OK is set, and a reset forgets everything', async () => {
  const rig = await Rig.create({ features: [regs.VIRTIO_BLK_F_FLUSH, 0] });
  rig.write(regs.VIRTIO_DRIVER_FEATURE_SELECT, 4, 0);
  rig.write(regs.VIRTIO_DRIVER_FEATURE, 4, 0);
  assert.is(rig.read(regs.VIRTIO_DRIVER_FEATURE, 4), regs.VIRTIO_BLK_F_FLUSH);
  assert.is(rig.read(regs.VIRTIO_QUEUE_ENABLE, 2), 1);
  rig.status = 0;
  assert.is(rig.status, 0);
  assert.is(rig.read(regs.VIRTIO_DRIVER_FEATURE, 4), 0);
  assert.is(rig.read(regs.VIRTIO_QUEUE_ENABLE, 2), 0);
  assert.is(rig.read(regs.VIRTIO_QUEUE_DESC, 4), 0);
  assert.is(rig.read(regs.VIRTIO_QUEUE_VECTOR, 2), regs.VIRTIO_NO_VECTOR);
});

test('4.1.4.3: queues, and those that are not there', async () => {
  const rig = await Rig.create({ profile: 'virtio-blk-modern', cold: true });
  assert.is(rig.read(regs.VIRTIO_NUM_QUEUES, 2), 4);
  assert.ok(rig.negotiate(0, regs.VIRTIO_F_VERSION_1));
  rig.write(regs.VIRTIO_QUEUE_SELECT, 2, 3);
  assert.equal([rig.read(regs.VIRTIO_QUEUE_SIZE, 2), rig.read(regs.VIRTIO_QUEUE_NOTIFY_OFF, 2)], [128, 3]);
  rig.write(regs.VIRTIO_QUEUE_SIZE, 2, 129);
  assert.is(rig.read(regs.VIRTIO_QUEUE_SIZE, 2), 128);
  rig.write(regs.VIRTIO_QUEUE_DRIVER + 4, 4, 0x12345678);
  assert.is(rig.read(regs.VIRTIO_QUEUE_DRIVER + 4, 4), 0x12345678);
  rig.write(regs.VIRTIO_QUEUE_VECTOR, 2, 4);
  assert.is(rig.read(regs.VIRTIO_QUEUE_VECTOR, 2), 4);
  rig.write(regs.VIRTIO_QUEUE_VECTOR, 2, 5);
  assert.is(rig.read(regs.VIRTIO_QUEUE_VECTOR, 2), regs.VIRTIO_NO_VECTOR);
  rig.write(regs.VIRTIO_QUEUE_SELECT, 2, 4);
  assert.is(rig.read(regs.VIRTIO_QUEUE_SIZE, 2), 0);
  rig.write(regs.VIRTIO_QUEUE_ENABLE, 2, 1);
  assert.is(rig.read(regs.VIRTIO_QUEUE_ENABLE, 2), 0);
});

test('2.7: the size of a split queue is a power of two, a packed one need not be', async () => {
  const rig = await Rig.create({ profile: 'virtio-blk-modern', cold: true });
  rig.negotiate(0, regs.VIRTIO_F_VERSION_1 | regs.VIRTIO_F_RING_PACKED);
  rig.write(regs.VIRTIO_QUEUE_SIZE, 2, 100);
  rig.write(regs.VIRTIO_QUEUE_ENABLE, 2, 1);
  assert.is(rig.read(regs.VIRTIO_QUEUE_ENABLE, 2), 1);
  rig.negotiate(0, regs.VIRTIO_F_VERSION_1);
  rig.write(regs.VIRTIO_QUEUE_SIZE, 2, 100);
  rig.write(regs.VIRTIO_QUEUE_ENABLE, 2, 1);
  assert.is(rig.read(regs.VIRTIO_QUEUE_ENABLE, 2), 0);
  assert.is(rig.status & regs.VIRTIO_NEEDS_RESET, regs.VIRTIO_NEEDS_RESET);
});

test('5.2.4: the configuration describes the disk and the limits', async () => {
  const rig = await Rig.create({ disk: { sectorBytes: 4096 }, parameters: { sizeMax: 8192 } });
  assert.equal([rig.config(regs.BLK_CAPACITY), rig.config(regs.BLK_CAPACITY + 4)], [2048, 0]);
  assert.equal([rig.config(regs.BLK_SIZE_MAX), rig.config(regs.BLK_SEG_MAX)], [8192, 126]);
  assert.equal([rig.config(regs.BLK_CYLINDERS, 2), rig.config(regs.BLK_HEADS, 1)], [2, 16]);
  assert.is(rig.config(regs.BLK_BLK_SIZE), 4096);
  assert.equal([rig.config(regs.BLK_NUM_QUEUES, 2), rig.config(regs.BLK_DISCARD_SEGMENTS)], [1, 32]);
  assert.is(rig.config(regs.BLK_DISCARD_ALIGNMENT), 8);
  assert.is(rig.config(regs.BLK_ZEROES_MAY_UNMAP, 1), 1);
});

test('5.2.4: read-only disks say so; the cache can be switched where that was accepted', async () => {
  const readOnly = await Rig.create({ disk: { readOnly: true }, cold: true });
  assert.is(readOnly.offered(0) & regs.VIRTIO_BLK_F_RO, regs.VIRTIO_BLK_F_RO);
  const rig = await Rig.create();
  assert.is(rig.offered(0) & regs.VIRTIO_BLK_F_RO, 0);
  rig.write(regs.VIRTIO_AT_CONFIG + regs.BLK_WRITEBACK, 1, 0);
  assert.is(rig.config(regs.BLK_WRITEBACK, 1), 1);
  rig.start(regs.VIRTIO_BLK_F_CONFIG_WCE);
  rig.write(regs.VIRTIO_AT_CONFIG + regs.BLK_WRITEBACK, 1, 0);
  assert.is(rig.config(regs.BLK_WRITEBACK, 1), 0);
});

test('4.1.4.9: the window reaches the registers without memory decoding', async () => {
  const rig = await Rig.create();
  const { controller } = rig;
  controller.configWrite(PCI_COMMAND, 2, 0);
  assert.is(rig.config(regs.BLK_CAPACITY), 0xffffffff);
  controller.configWrite(WINDOW + regs.VIRTIO_CAP_BAR, 1, regs.VIRTIO_BAR_MODERN);
  controller.configWrite(WINDOW + regs.VIRTIO_CAP_OFFSET, 4, regs.VIRTIO_AT_CONFIG);
  controller.configWrite(WINDOW + regs.VIRTIO_CAP_BYTES, 4, 4);
  assert.is(controller.configRead(WINDOW + regs.VIRTIO_CAP_EXTRA, 4), 2048);
  controller.configWrite(WINDOW + regs.VIRTIO_CAP_OFFSET, 4, regs.VIRTIO_STATUS);
  controller.configWrite(WINDOW + regs.VIRTIO_CAP_BYTES, 4, 1);
  controller.configWrite(WINDOW + regs.VIRTIO_CAP_EXTRA, 1, 0);
  assert.is(controller.configRead(WINDOW + regs.VIRTIO_CAP_EXTRA, 1), 0);
  controller.configWrite(WINDOW + regs.VIRTIO_CAP_BYTES, 4, 3);
  controller.configWrite(WINDOW + regs.VIRTIO_CAP_EXTRA, 1, 1);
  controller.configWrite(PCI_COMMAND, 2, 7);
  assert.is(rig.status, 0);
});

test('4.1.4.10: the legacy registers, and the configuration at 20 or 24', async () => {
  const rig = await Rig.create({ cold: true });
  const c = rig.controller;
  assert.is(c.read32(0, 0), (rig.offered(0) | regs.VIRTIO_F_ANY_LAYOUT) >>> 0);
  rig.startLegacy(regs.VIRTIO_BLK_F_FLUSH | 1);
  assert.is(c.read32(0, regs.LEGACY_DRIVER_FEATURES), regs.VIRTIO_BLK_F_FLUSH);
  assert.is(c.read32(0, regs.LEGACY_QUEUE_ADDRESS), 0x10);
  assert.is(c.read16(0, regs.LEGACY_QUEUE_SIZE), 128);
  assert.is(c.read32(0, 20), 2048);
  c.configWrite(MSIX + 2, 2, PCI_MSIX_ENABLE);
  assert.is(c.read16(0, regs.LEGACY_QUEUE_VECTOR), regs.VIRTIO_NO_VECTOR);
  c.write16(0, regs.LEGACY_QUEUE_VECTOR, 1);
  assert.is(c.read16(0, regs.LEGACY_QUEUE_VECTOR), 1);
  assert.is(c.read32(0, 24), 2048);
  c.write8(0, regs.LEGACY_STATUS, 0);
  assert.is(c.read32(0, regs.LEGACY_QUEUE_ADDRESS), 0);
});

test('2.7.2: legacy requests run, with the used ring on its own page and the queue above 4 GiB', async () => {
  const rig = await Rig.create({ cold: true });
  rig.startLegacy();
  rig.disk.write(0, new Uint8Array(512).fill(0x5a));
  assert.is(readSector(rig), regs.BLK_S_OK);
  assert.is(rig.machine.memory.read8(DATA), 0x5a);
  assert.equal(rig.used(), [513]);
  assert.is(rig.controller.read8(0, regs.LEGACY_ISR), 1);
  assert.not(rig.line);
  // A page frame beyond RAM shows that it names 44 bits of address.
  rig.controller.write32(0, regs.LEGACY_QUEUE_ADDRESS, 0xffffffff);
  rig.controller.write16(0, regs.LEGACY_QUEUE_NOTIFY, 0);
  const finding = rig.machine.guard.findings().find(({ rule }) => rule === 'dev-hole');
  assert.is(finding?.address, 0xffffffff * 4096 + 16 * 128 + 2);
});

test('4.1.5.4: INTx is level, and reading the ISR status acknowledges', async () => {
  const rig = await Rig.create();
  readSector(rig);
  assert.ok(rig.line);
  assert.is(rig.isr(), regs.VIRTIO_ISR_QUEUE);
  assert.not(rig.line);
  assert.is(rig.isr(), 0);
  rig.controller.configWrite(PCI_COMMAND, 2, 0x407);
  readSector(rig);
  assert.not(rig.line);
  rig.controller.configWrite(PCI_COMMAND, 2, 7);
  assert.ok(rig.line);
});

test('MSI-X: a vector a queue, none for 0xffff, and no line', async () => {
  const rig = await Rig.create();
  openVectors(rig, 2);
  readSector(rig);
  assert.is(rig.machine.takeMsi(), -1);
  rig.write(regs.VIRTIO_QUEUE_VECTOR, 2, 1);
  readSector(rig);
  assert.is(rig.machine.takeMsi(), 0x41);
  assert.is(rig.machine.takeMsi(), -1);
  assert.not(rig.line);
  assert.is(rig.isr(), 0);
});

test('MSI-X: what is masked stays pending until vector and function are open', async () => {
  const rig = await Rig.create();
  const { controller, machine } = rig;
  openVectors(rig, 2);
  rig.write(regs.VIRTIO_QUEUE_VECTOR, 2, 1);
  controller.write32(1, 16 + PCI_MSIX_ENTRY_CONTROL, 1);
  controller.configWrite(MSIX + 2, 2, PCI_MSIX_ENABLE | PCI_MSIX_FUNCTION_MASK);
  readSector(rig);
  assert.is(machine.takeMsi(), -1);
  assert.is(controller.read32(1, regs.VIRTIO_MSIX_PBA), 2);
  controller.write32(1, regs.VIRTIO_MSIX_PBA, 0);
  assert.is(controller.read32(1, regs.VIRTIO_MSIX_PBA), 2, 'software cannot write pending bits');
  controller.write32(1, 16 + PCI_MSIX_ENTRY_CONTROL, 0);
  assert.is(machine.takeMsi(), -1);
  controller.configWrite(MSIX + 2, 2, PCI_MSIX_ENABLE);
  assert.is(machine.takeMsi(), 0x41);
  assert.is(controller.read32(1, regs.VIRTIO_MSIX_PBA), 0);
  controller.write32(1, 16 + PCI_MSIX_ENTRY_CONTROL, 1);
  readSector(rig);
  assert.is(controller.read32(1, regs.VIRTIO_MSIX_PBA), 2);
  controller.write32(1, 16 + PCI_MSIX_ENTRY_CONTROL, 0);
  assert.is(machine.takeMsi(), 0x41);
});

test('MSI-X: table fields hold what they can, and a reset masks all', async () => {
  const rig = await Rig.create();
  const { controller } = rig;
  controller.write32(1, 0, 0xffffffff);
  controller.write32(1, 12, 0xffffffff);
  assert.equal([controller.read32(1, 0), controller.read32(1, 12)], [0xfffffffc, 1]);
  assert.is(controller.configRead(MSIX + 2, 2) & 0x7ff, 1);
  openVectors(rig, 2);
  controller.reset('function');
  controller.enable();
  assert.is(controller.configRead(MSIX + 2, 2), 1);
  assert.equal([controller.read32(1, 0), controller.read32(1, 12), controller.read32(1, 28)], [0, 1, 1]);
});

test('5.2.5: another disk is a change of the configuration', async () => {
  const rig = await Rig.create();
  const generation = rig.read(regs.VIRTIO_CONFIG_GENERATION, 1);
  rig.controller.detachDisk(0);
  assert.is(rig.isr(), regs.VIRTIO_ISR_CONFIG | regs.VIRTIO_ISR_QUEUE);
  assert.is(rig.config(regs.BLK_CAPACITY), 0);
  assert.not(rig.read(regs.VIRTIO_CONFIG_GENERATION, 1) === generation);
  assert.is(readSector(rig), regs.BLK_S_IOERR);
  rig.controller.attach(rig.disk, 0);
  assert.is(rig.config(regs.BLK_CAPACITY), 2048);
  assert.is(readSector(rig), regs.BLK_S_OK);
});
