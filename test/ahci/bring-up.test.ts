// The board of public device tests, step by step as they bring it up, use it, make it fail and reset it.

import { PCI_CAPABILITIES, PCI_COMMAND, PCI_STATUS } from '../../assembly/bus/pci-regs.ts';
import { assert, suite } from '../run/suite.ts';
import { ata, DATA, Hba, pattern, regs } from './hba.ts';

const test = suite('ahci: bring-up');

const IDLE = regs.AHCI_CMD_ST | regs.AHCI_CMD_CR | regs.AHCI_CMD_FRE | regs.AHCI_CMD_FR;
const PORTS = 6;
const block = (bytes: number, address = DATA) => [{ address, bytes }];

async function create(): Promise<Hba> {
  return Hba.create({ profile: 'ahci-q35', cold: true, diskBytes: 2 ** 20 });
}

/** Registers as they are before anybody has written one. */
function checkReset(hba: Hba): void {
  assert.is(hba.read(regs.AHCI_CAP), 0xc1149f05);
  assert.is(hba.read(regs.AHCI_GHC) >>> 0, regs.AHCI_GHC_AE);
  for (const at of [regs.AHCI_IS, 0x14, 0x18, 0x1c, 0x20, regs.AHCI_BOHC]) assert.is(hba.read(at), 0);
  assert.equal([hba.read(regs.AHCI_PI), hba.read(regs.AHCI_VS)], [0x3f, 0x10000]);
  for (let port = 0; port < PORTS; port++) {
    assert.is(hba.px(regs.AHCI_PX_CMD, port), regs.AHCI_CMD_SUD | regs.AHCI_CMD_POD);
    assert.is(hba.px(regs.AHCI_PX_TFD, port), regs.AHCI_TFD_RESET);
    for (const at of [0x10, 0x14, 0x1c, 0x2c, 0x30, 0x34, 0x38, 0x3c, 0x40]) assert.is(hba.px(at, port), 0);
  }
}

/** What a driver does with each port before it starts those that have a disk. */
function enable(hba: Hba): void {
  for (let port = 0; port < PORTS; port++) {
    assert.is(hba.px(regs.AHCI_PX_CMD, port) & IDLE, 0);
    hba.setPx(regs.AHCI_PX_CLB, port * 0x100000 + 0x10000, port);
    hba.setPx(regs.AHCI_PX_FB, port * 0x100000 + 0x10800, port);
    hba.setPx(regs.AHCI_PX_SERR, 0xffffffff, port);
    hba.setPx(regs.AHCI_PX_IS, 0xffffffff, port);
    hba.write(regs.AHCI_IS, 1 << port);
    hba.setPx(regs.AHCI_PX_IE, 0xffffffff, port);
    assert.is(hba.px(regs.AHCI_PX_IE, port) >>> 0, regs.AHCI_IE_MASK);
    hba.setPx(regs.AHCI_PX_CMD, hba.px(regs.AHCI_PX_CMD, port) | regs.AHCI_CMD_FRE, port);
    assert.is(hba.px(regs.AHCI_PX_CMD, port) & regs.AHCI_CMD_FR, regs.AHCI_CMD_FR);
    const busy = (hba.px(regs.AHCI_PX_TFD, port) & (ata.ATA_STATUS_BSY | ata.ATA_STATUS_DRQ)) !== 0;
    assert.is(busy, port !== 0);
    if (busy) continue;
    assert.is(hba.px(regs.AHCI_PX_SSTS, port) & regs.AHCI_DET_MASK, regs.AHCI_DET_PRESENT);
    hba.setPx(regs.AHCI_PX_CMD, hba.px(regs.AHCI_PX_CMD, port) | regs.AHCI_CMD_ST, port);
    assert.is(hba.px(regs.AHCI_PX_CMD, port) & regs.AHCI_CMD_CR, regs.AHCI_CMD_CR);
  }
  hba.write(regs.AHCI_GHC, hba.read(regs.AHCI_GHC) | regs.AHCI_GHC_IE);
  hba.clear();
}

test('configuration space before anybody has written to it', async () => {
  const hba = await create();
  const { controller } = hba;
  controller.reset('power-on');
  assert.is(controller.configRead(PCI_COMMAND, 2), 0);
  assert.is(controller.configRead(PCI_STATUS, 2), 0x10);
  for (const at of [0x0c, 0x0d, 0x0e, 0x0f, 0x24, 0x38, 0x3c]) assert.is(controller.configRead(at, 1), 0);
  const msi = controller.configRead(PCI_CAPABILITIES, 4);
  assert.is(controller.configRead(msi + 2, 2), 0x80);
  assert.equal([controller.configRead(msi + 4, 4), controller.configRead(msi + 8, 4)], [0, 0]);
  assert.is(controller.configRead(regs.AHCI_CAP_AT_SATA + 2, 2), 0x10);
  assert.is(controller.configRead(regs.AHCI_CAP_AT_SATA + 4, 4), 0x48);
  controller.configWrite(0x92, 1, 0x3f);
  assert.is(controller.configRead(0x92, 1), 0x3f);
});

test('reset values, start, IDENTIFY, a write and a read, HBA reset: twice', async () => {
  const hba = await create();
  for (let round = 0; round < 2; round++) {
    checkReset(hba);
    enable(hba);
    assert.is(hba.execute({ command: ata.ATA_IDENTIFY, device: 0 }, block(512)), ata.ATA_STATUS_GOOD);
    hba.machine.memory.writeBytes(DATA, pattern(4096, round));
    hba.execute({ command: ata.ATA_WRITE_DMA_EXT, count: 8 }, block(4096));
    hba.execute({ command: ata.ATA_READ_DMA_EXT, count: 8 }, block(4096, DATA + 4096));
    assert.ok(hba.machine.memory.equals(DATA + 4096, pattern(4096, round)));
    hba.write(regs.AHCI_GHC, hba.read(regs.AHCI_GHC) | regs.AHCI_GHC_HR);
  }
});

test('a command that failed keeps PxCI, a queued one PxSACT; ST clears both, and the next one works', async () => {
  const hba = await create();
  enable(hba);
  hba.prepare(3, { command: ata.ATA_READ_DMA_EXT, count: 1, lba: 2 ** 40 }, block(512));
  hba.issue(8);
  assert.equal([hba.px(regs.AHCI_PX_CI), hba.px(regs.AHCI_PX_SACT)], [8, 0]);
  assert.equal([hba.px(regs.AHCI_PX_IS), hba.px(regs.AHCI_PX_SERR)], [0x40000001, 0]);
  hba.restart();
  assert.is(hba.px(regs.AHCI_PX_TFD) & ata.ATA_STATUS_ERR, ata.ATA_STATUS_ERR);
  hba.machine.addFault({ disk: hba.disk, kind: 'error', first: 5, last: 5, times: 1 });
  const queued = { command: ata.ATA_READ_FPDMA_QUEUED, feature: 1, count: 4 << 3, lba: 5 };
  hba.prepare(4, queued, block(512));
  hba.issue(16, true);
  assert.equal([hba.px(regs.AHCI_PX_SACT), hba.px(regs.AHCI_PX_IS)], [16, 0x40000008]);
  hba.restart();
  assert.equal([hba.px(regs.AHCI_PX_CI), hba.px(regs.AHCI_PX_SACT)], [0, 0]);
  hba.execute({ command: ata.ATA_READ_LOG_DMA_EXT, lba: ata.ATA_LOG_QUEUE_ERROR, count: 1 }, block(512));
  assert.is(hba.machine.memory.read8(DATA), 4);
  hba.clear();
  hba.prepare(4, queued, block(512));
  hba.issue(16, true);
  assert.equal([hba.px(regs.AHCI_PX_SACT), hba.px(regs.AHCI_PX_IS)], [0, regs.AHCI_IS_SDBS]);
});

test('the I bit of a PIO Setup FIS says whether the block interrupts: not the first of a data-out', async () => {
  const hba = await create();
  enable(hba);
  const flagsOf = (command: number, count: number): number => {
    hba.clear();
    hba.execute({ command, count }, block(count * 512));
    const set = (hba.px(regs.AHCI_PX_IS) & regs.AHCI_IS_PSS) !== 0;
    const flags = hba.frame(regs.AHCI_RFIS_PIO_SETUP, 2)[1] ?? 0;
    assert.is((flags & regs.FIS_INTERRUPT) !== 0, set);
    return flags;
  };
  assert.is(flagsOf(ata.ATA_READ_SECTORS, 1), regs.FIS_TO_HOST | regs.FIS_INTERRUPT);
  assert.is(flagsOf(ata.ATA_WRITE_SECTORS, 1), 0);
  assert.is(flagsOf(ata.ATA_WRITE_SECTORS, 2), regs.FIS_INTERRUPT);
});
