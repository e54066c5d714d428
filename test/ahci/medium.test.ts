// The controller over a medium of the host that answers later.

import type { AsyncMedium } from '../../src/media/index.ts';
import { assert, suite } from '../run/suite.ts';
import { ata, DATA, Hba, pattern, regs } from './hba.ts';

const test = suite('ahci: late media');

function wait(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}

/** Bytes that come and go in their own time. */
function lateMedium(bytes: Uint8Array): AsyncMedium {
  const later = <T>(act: () => T): Promise<T> => wait(1).then(act);
  return {
    name: 'late',
    bytes: bytes.length,
    readOnly: false,
    sync: false,
    read: (offset, buffer) =>
      later(() => {
        buffer.set(bytes.subarray(offset, offset + buffer.length));
        return buffer.length;
      }),
    write: (offset, buffer) =>
      later(() => {
        bytes.set(buffer, offset);
        return buffer.length;
      }),
    flush: () => later(() => undefined),
    discard: (offset, length) =>
      later(() => {
        bytes.fill(0, offset, offset + length);
      }),
    close: () => later(() => undefined),
  };
}

async function create(): Promise<{ hba: Hba; bytes: Uint8Array }> {
  const bytes = new Uint8Array(2 ** 20);
  const hba = await Hba.create({ disks: 1 });
  hba.controller.attach(hba.machine.addDisk({ medium: lateMedium(bytes) }), 0);
  hba.start();
  return { hba, bytes };
}

const block = [{ address: DATA, bytes: 4096 }];

test('queued writes, FUA, reads and TRIM end when the medium has answered', async () => {
  const { hba, bytes } = await create();
  const { memory } = hba.machine;
  memory.writeBytes(DATA, pattern(4096, 1));
  for (const slot of [0, 1, 2]) {
    const task = { command: ata.ATA_WRITE_FPDMA_QUEUED, feature: 8, count: slot << 3, lba: 8 * slot };
    hba.prepare(slot, { ...task, device: slot === 1 ? 0xc0 : 0x40 }, block);
  }
  hba.setPx(regs.AHCI_PX_SACT, 7);
  hba.setPx(regs.AHCI_PX_CI, 7);
  assert.is(hba.px(regs.AHCI_PX_SACT), 7);
  await hba.machine.settleAsync();
  assert.is(hba.px(regs.AHCI_PX_SACT), 0);
  for (const slot of [0, 1, 2]) {
    assert.equal(bytes.slice(4096 * slot, 4096 * (slot + 1)), pattern(4096, 1));
  }
  memory.fill(DATA, 0, 4096);
  memory.write32(DATA, 8);
  memory.write32(DATA + 4, 8 << 16);
  const trim = { command: ata.ATA_DATA_SET_MANAGEMENT, feature: ata.ATA_DSM_TRIM, count: 1 };
  hba.prepare(0, trim, block);
  hba.setPx(regs.AHCI_PX_CI, 1);
  await hba.machine.settleAsync();
  assert.is(hba.px(regs.AHCI_PX_TFD), ata.ATA_STATUS_GOOD);
  assert.ok(bytes.subarray(4096, 8192).every((byte) => byte === 0));
  hba.prepare(0, { command: ata.ATA_READ_SECTORS_EXT, lba: 16, count: 8 }, block);
  hba.setPx(regs.AHCI_PX_CI, 1);
  await hba.machine.settleAsync();
  assert.ok(memory.equals(DATA, pattern(4096, 1)));
});

for (const [name, reset] of [
  ['HBA reset', (hba: Hba) => hba.write(regs.AHCI_GHC, regs.AHCI_GHC_HR)],
  ['COMRESET', (hba: Hba) => hba.setPx(regs.AHCI_PX_SCTL, regs.AHCI_DET_RESET)],
  ['ST cleared', (hba: Hba) => hba.setPx(regs.AHCI_PX_CMD, 0)],
  ['a pulled cable', (hba: Hba) => hba.controller.detachDisk(0)],
] as const) {
  test(`${name} while the medium works: its late answer goes nowhere`, async () => {
    const { hba, bytes } = await create();
    bytes.set(pattern(4096, 2));
    hba.machine.memory.fill(DATA, 7, 4096);
    const task = { command: ata.ATA_READ_DMA_EXT, count: 8 };
    hba.prepare(0, task, block);
    hba.setPx(regs.AHCI_PX_CI, 1);
    reset(hba);
    await wait(5);
    await hba.machine.settleAsync();
    assert.is(hba.machine.memory.read8(DATA), 7);
    assert.is(hba.machine.pendingMedia, 0);
    hba.controller.attach(hba.machine.disks[1] ?? hba.disk, 0);
    hba.setPx(regs.AHCI_PX_SCTL, 0);
    hba.machine.settle();
    hba.start();
    hba.comreset();
    hba.prepare(0, task, block);
    hba.setPx(regs.AHCI_PX_CI, 1);
    await hba.machine.settleAsync();
    assert.ok(hba.machine.memory.equals(DATA, pattern(4096, 2)));
  });
}
