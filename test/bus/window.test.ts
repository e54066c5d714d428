// On-chip memory as a target of DMA: an AHCI controller reads and writes an NVMe controller's memory buffer, whose BAR
// has four pages of which three hold memory.

import plain from '../../firmware/profiles/nvme-cmb.json' with { type: 'json' };
import type { Controller } from '../../src/machine/index.ts';
import { ata, DATA, Hba, pattern, regs } from '../ahci/hba.ts';
import { regs as nvme } from '../nvme/board.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('bus: window');

const PCI_COMMAND = 4;
const PCI_POWER = nvme.NVME_CAP_AT_PM + 4;
const BYTES = 3 * 4096;

async function setup(): Promise<{ hba: Hba; other: Controller; base: number }> {
  const hba = await Hba.create({ flavour: 'debug' });
  const profile = { ...plain, parameters: { ...plain.parameters, cmb: 3 } };
  const other = hba.machine.addController({ kind: 'nvme', profile });
  other.write32(0, nvme.NVME_CMBMSC, nvme.NVME_CMBMSC_CRE);
  hba.disk.write(0, pattern(65536, 1));
  const base = (other.configRead(0x10 + 4 * nvme.NVME_CMB_BAR, 4) & ~15) >>> 0;
  return { hba, other, base };
}

function window(other: Controller, at: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => other.read8(nvme.NVME_CMB_BAR, at + i));
}

/** Whether a command of two sectors met a fault of the bus. */
function fails(hba: Hba, command: number, address: number): boolean {
  hba.comreset();
  hba.execute({ command, count: 2 }, [{ address, bytes: 1024 }]);
  return (hba.px(regs.AHCI_PX_IS) & regs.AHCI_IS_HBFS) !== 0;
}

test('the CPU reaches its bytes through the BAR, at any address and size', async () => {
  const { hba, other, base } = await setup();
  const { bus } = hba.machine;
  bus.writeMemory(base + 1, 4, 0x44332211);
  bus.writeMemory(base + 5, 2, 0x6655);
  bus.writeMemory(base + 7, 1, 0x77);
  assert.equal([...window(other, 0, 8)], [0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77]);
  assert.is(other.read32(nvme.NVME_CMB_BAR, 2), 0x55443322);
  assert.is(bus.readMemory(base + 3, 2), 0x4433);
  // No access leaves the window.
  other.write32(nvme.NVME_CMB_BAR, BYTES - 2, 0x12345678);
  assert.equal([...window(other, BYTES - 2, 2)], [0, 0]);
});

test('another device reads and writes it as it does RAM', async () => {
  const { hba, other, base } = await setup();
  const { memory } = hba.machine;
  const before = hba.controller.counters.dmaFaults;
  assert.is(fails(hba, ata.ATA_READ_DMA_EXT, base + 512), false);
  assert.equal(window(other, 512, 1024), pattern(65536, 1).subarray(0, 1024));
  for (let i = 0; i < 1024; i++) other.write8(nvme.NVME_CMB_BAR, 2048 + i, i & 0xff);
  assert.is(fails(hba, ata.ATA_WRITE_DMA_EXT, base + 2048), false);
  assert.equal(
    hba.disk.read(0, 1024),
    Uint8Array.from({ length: 1024 }, (_, i) => i & 0xff),
  );
  assert.is(hba.controller.counters.dmaFaults, before);
  // A command table there is fetched like any other.
  hba.prepare(0, { command: ata.ATA_READ_DMA_EXT, count: 1 }, [{ address: DATA, bytes: 512 }]);
  for (let i = 0; i < 0x90; i++) other.write8(nvme.NVME_CMB_BAR, i, memory.read8(hba.table(0) + i));
  memory.write32(hba.list() + 8, base);
  memory.fill(DATA, 0, 512);
  hba.clear();
  hba.issue(1);
  assert.equal(memory.readBytes(DATA, 512), hba.disk.read(0, 512));
});

test('many pieces of it are one run each where they are neighbours', async () => {
  const { hba, other, base } = await setup();
  const prds = Array.from({ length: 20 }, (_, i) => ({ address: base + 512 * i, bytes: 512 }));
  assert.is(hba.execute({ command: ata.ATA_READ_DMA_EXT, count: 20 }, prds), ata.ATA_STATUS_GOOD);
  assert.equal(window(other, 0, 20 * 512), hba.disk.read(0, 20 * 512));
});

test('behind its end, and before its BAR, DMA is refused, for those bytes alone', async () => {
  const { hba, other, base } = await setup();
  assert.is(fails(hba, ata.ATA_READ_DMA_EXT, base + BYTES - 512), true);
  assert.equal(window(other, BYTES - 512, 512), hba.disk.read(0, 512));
  assert.is(fails(hba, ata.ATA_READ_DMA_EXT, base - 512), true);
  assert.is(fails(hba, ata.ATA_READ_DMA_EXT, base + BYTES), true);
});

test('it is there while its BAR is decoded, and where that was moved', async () => {
  const { hba, other, base } = await setup();
  const command = other.configRead(PCI_COMMAND, 2);
  other.configWrite(PCI_COMMAND, 2, command & ~2);
  assert.is(fails(hba, ata.ATA_READ_DMA_EXT, base), true);
  other.configWrite(PCI_COMMAND, 2, command);
  assert.is(fails(hba, ata.ATA_READ_DMA_EXT, base), false);
  other.configWrite(0x10 + 4 * nvme.NVME_CMB_BAR, 4, 0xd0000000);
  assert.is(fails(hba, ata.ATA_READ_DMA_EXT, base), true);
  assert.is(fails(hba, ata.ATA_READ_DMA_EXT, 0xd0000000), false);
  other.configWrite(PCI_POWER, 2, 3);
  assert.is(fails(hba, ata.ATA_READ_DMA_EXT, 0xd0000000), true);
});

test('where RAM is, RAM answers', async () => {
  const { hba, other } = await setup();
  other.configWrite(0x10 + 4 * nvme.NVME_CMB_BAR, 4, DATA & ~0x3fff);
  assert.is(fails(hba, ata.ATA_READ_DMA_EXT, DATA), false);
  assert.equal(hba.machine.memory.readBytes(DATA, 1024), hba.disk.read(0, 1024));
  assert.ok(window(other, 0, BYTES).every((byte) => byte === 0));
});

test('registers beside it stay closed: nothing is called, the access is refused', async () => {
  const { hba, other } = await setup();
  const registers = (other.configRead(0x10, 4) & ~15) >>> 0;
  const before = other.counters;
  assert.is(fails(hba, ata.ATA_READ_DMA_EXT, registers), true);
  assert.is(fails(hba, ata.ATA_WRITE_DMA_EXT, registers), true);
  assert.is(other.counters.registerReads, before.registerReads);
  assert.is(other.counters.registerWrites, before.registerWrites);
});
