// What software sees that polls: firmware, and the order in which kernels bring a port up and get it going again.

import { assert, suite } from '../run/suite.ts';
import { ata, DATA, Hba, pattern, regs, wordsOf } from './hba.ts';

const test = suite('ahci: polled');

const GOOD = ata.ATA_STATUS_GOOD;
const PROFILES = ['ahci', 'ahci-q35'] as const;
const block = (bytes: number, address = DATA) => [{ address, bytes }];

/** Runs the clock until one of PxIS's bits is set, as firmware does; acknowledges and returns them. */
function pollStatus(hba: Hba): number {
  for (let i = 0; i < 100; i++) {
    const status = hba.px(regs.AHCI_PX_IS);
    if (status !== 0) {
      hba.setPx(regs.AHCI_PX_IS, status);
      return status;
    }
    hba.machine.advance(hba.machine.now() + 10_000);
  }
  return 0;
}

/** ST off, PxSERR, PxIS, ST on: recovery without a reset (6.2.2.1). PxTFD in between. */
function recover(hba: Hba): number {
  hba.setPx(regs.AHCI_PX_CMD, hba.px(regs.AHCI_PX_CMD) & ~regs.AHCI_CMD_ST);
  assert.is(hba.px(regs.AHCI_PX_CMD) & regs.AHCI_CMD_CR, 0);
  hba.setPx(regs.AHCI_PX_SERR, hba.px(regs.AHCI_PX_SERR));
  hba.setPx(regs.AHCI_PX_IS, hba.px(regs.AHCI_PX_IS));
  const tfd = hba.px(regs.AHCI_PX_TFD);
  hba.setPx(regs.AHCI_PX_CMD, hba.px(regs.AHCI_PX_CMD) | regs.AHCI_CMD_ST);
  return tfd;
}

for (const profile of PROFILES) {
  test(`${profile}: firmware asks a disk whether it is a packet device, waiting for DHRS or PSS alone`, async () => {
    const hba = await Hba.create({ profile });
    hba.setPx(regs.AHCI_PX_IE, 0);
    hba.prepare(0, { command: ata.ATA_IDENTIFY_PACKET, device: 0 }, block(512));
    // Such firmware sets PxSACT for commands that are not queued too.
    hba.setPx(regs.AHCI_PX_SACT, 1);
    hba.setPx(regs.AHCI_PX_CI, 1);
    assert.is(pollStatus(hba), regs.AHCI_IS_TFES | regs.AHCI_IS_DHRS);
    assert.equal([...hba.frame(regs.AHCI_RFIS_REGISTER, 4)], [regs.FIS_REGISTER_D2H, 0x40, 0x51, 4]);
    assert.is(recover(hba), 0x0451);
    hba.prepare(0, { command: ata.ATA_IDENTIFY, device: 0 }, block(512));
    hba.setPx(regs.AHCI_PX_SACT, 1);
    hba.setPx(regs.AHCI_PX_CI, 1);
    assert.is(pollStatus(hba) & regs.AHCI_IS_PSS, regs.AHCI_IS_PSS);
    const fis = hba.frame(regs.AHCI_RFIS_PIO_SETUP, 4);
    assert.equal([fis[0], (fis[2] ?? 0) & ~ata.ATA_STATUS_DRQ, fis[3]], [regs.FIS_PIO_SETUP, GOOD, 0]);
    assert.is(hba.moved(), 512);
    hba.prepare(0, { command: ata.ATA_READ_DMA, count: 1 }, block(512));
    hba.setPx(regs.AHCI_PX_CI, 1);
    assert.is(pollStatus(hba), regs.AHCI_IS_DHRS);
  });
}

test('an error of the command before is gone from PxTFD as soon as the next one is issued', async () => {
  const hba = await Hba.create();
  const beyond = { command: ata.ATA_READ_DMA_EXT, count: 1, lba: 2 ** 40 };
  assert.is(hba.execute(beyond, block(512)), 0x1051);
  assert.is(recover(hba), 0x1051);
  hba.prepare(0, { command: ata.ATA_READ_DMA_EXT, count: 1 }, block(512));
  hba.setPx(regs.AHCI_PX_CI, 1);
  assert.is(hba.px(regs.AHCI_PX_TFD) & (ata.ATA_STATUS_BSY | ata.ATA_STATUS_ERR), ata.ATA_STATUS_BSY);
  hba.machine.settle();
  assert.is(hba.px(regs.AHCI_PX_TFD), GOOD);
  hba.execute(beyond, block(512));
  recover(hba);
  hba.prepare(1, { command: ata.ATA_READ_FPDMA_QUEUED, feature: 1, count: 1 << 3 }, block(512));
  hba.setPx(regs.AHCI_PX_SACT, 2);
  hba.setPx(regs.AHCI_PX_CI, 2);
  assert.equal([...hba.frame(regs.AHCI_RFIS_REGISTER, 4)], [regs.FIS_REGISTER_D2H, 0, GOOD, 0]);
  assert.is(hba.px(regs.AHCI_PX_TFD), GOOD);
  hba.machine.settle();
  assert.is(hba.px(regs.AHCI_PX_SACT), 0);
});

test('a COMRESET as kernels poll it: 7Fh, BSY with the link, then the signature in registers and frame', async () => {
  const hba = await Hba.create();
  hba.setPx(regs.AHCI_PX_IE, 0);
  hba.setPx(regs.AHCI_PX_CMD, hba.px(regs.AHCI_PX_CMD) & ~regs.AHCI_CMD_ST);
  hba.machine.memory.fill(0x10800 + regs.AHCI_RFIS_REGISTER, 0, 20);
  hba.setPx(regs.AHCI_PX_SCTL, 0x300 | regs.AHCI_DET_RESET);
  hba.machine.advance(hba.machine.now() + 1_000_000);
  assert.equal([hba.px(regs.AHCI_PX_SSTS), hba.px(regs.AHCI_PX_TFD)], [0, regs.AHCI_TFD_RESET]);
  hba.setPx(regs.AHCI_PX_SCTL, 0x300);
  assert.is(hba.px(regs.AHCI_PX_SCTL), 0x300);
  hba.machine.advance(hba.machine.now() + 150_000);
  assert.equal([hba.px(regs.AHCI_PX_SSTS), hba.px(regs.AHCI_PX_TFD)], [0x123, ata.ATA_STATUS_BSY]);
  assert.is(hba.px(regs.AHCI_PX_SERR) & regs.AHCI_SERR_X, regs.AHCI_SERR_X);
  hba.machine.settle();
  assert.equal([hba.px(regs.AHCI_PX_TFD), hba.px(regs.AHCI_PX_SIG)], [0x150, regs.AHCI_SIG_ATA]);
  assert.equal([...hba.frame(regs.AHCI_RFIS_REGISTER, 8)], [0x34, 0, GOOD, 1, 1, 0, 0, 0]);
  // The signature's frame asks for no interrupt: only what mirrors PxSERR is there, and goes with it.
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_PCS | regs.AHCI_IS_PRCS);
  hba.setPx(regs.AHCI_PX_SERR, 0xffffffff);
  assert.equal([hba.px(regs.AHCI_PX_IS), hba.read(regs.AHCI_IS)], [0, 0]);
});

test('a software reset addressed to the control port of a multiplier (15) gets the signature of the disk', async () => {
  const hba = await Hba.create();
  const header = regs.AHCI_HEADER_RESET | regs.AHCI_HEADER_CLEAR_BUSY | (15 << 12);
  hba.prepare(5, { command: ata.ATA_READ_FPDMA_QUEUED, feature: 1, count: 5 << 3 }, block(512));
  hba.machine.memory.fill(DATA, 0x77, 512);
  hba.setPx(regs.AHCI_PX_SACT, 1 << 5);
  hba.setPx(regs.AHCI_PX_CI, 1 << 5);
  hba.prepare(0, { command: 0, flags: 15, control: ata.ATA_CONTROL_SRST, header });
  hba.setPx(regs.AHCI_PX_CI, 1);
  assert.equal([hba.px(regs.AHCI_PX_CI), hba.px(regs.AHCI_PX_TFD) & ata.ATA_STATUS_BSY], [0, 0]);
  hba.machine.settle();
  hba.prepare(0, { command: 0, flags: 15, control: 0, header: 15 << 12 });
  hba.setPx(regs.AHCI_PX_CI, 1);
  hba.machine.settle();
  assert.equal([hba.px(regs.AHCI_PX_CI), hba.px(regs.AHCI_PX_TFD)], [0, 0x150]);
  assert.is(hba.px(regs.AHCI_PX_SIG), regs.AHCI_SIG_ATA);
  // The queued command in the device is forgotten.
  assert.is(hba.machine.memory.read8(DATA), 0x77);
  hba.restart();
  assert.is(hba.execute({ command: ata.ATA_READ_DMA, count: 1 }, block(512)), GOOD);
});

test('the words of IDENTIFY that kernels test before they use a feature', async () => {
  const hba = await Hba.create({ diskBytes: 2 ** 20 });
  assert.is(hba.execute({ command: ata.ATA_IDENTIFY, device: 0 }, block(512)), GOOD);
  const bytes = hba.machine.memory.readBytes(DATA, 512);
  const w = (i: number): number => wordsOf(bytes)[i] ?? 0;
  assert.equal([w(0) & 0x8000, w(49) & 0x0300, w(53) & 6], [0, 0x0300, 6]);
  assert.equal([w(60), w(61), w(100), w(101), w(102), w(103)], [2048, 0, 2048, 0, 0, 0]);
  assert.equal([w(63) & 7, w(64) & 3, w(88) & 0x7f], [7, 3, 0x7f]);
  assert.equal([w(75) & 31, w(76) & 0x8100, w(77), w(93)], [31, 0x0100, 2 << 1, 0]);
  // Version 8; 82 to 84 and 85 to 87 valid; 48 bits, both flushes, FUA, logs; 119 and 120 valid.
  assert.is(w(80) & 0x0100, 0x0100);
  assert.equal([w(83) & 0xc000, w(84) & 0xc000, w(87) & 0xc000], [0x4000, 0x4000, 0x4000]);
  assert.equal([w(83) & 0x3400, w(86) & 0x3400, w(84) & 0x60, w(87) & 0x60], [0x3400, 0x3400, 0x60, 0x60]);
  assert.equal([w(86) & 0x8000, w(119), w(120)], [0x8000, 0x4008, 0x4008]);
  // No host protected area, no security, no trusted computing, no non-queued surprises.
  assert.equal([w(82) & 0x0402, w(128), w(48) & 1, w(78), w(79)], [0, 0, 0, 0, 0]);
  assert.equal([w(106), w(117), w(118), w(169), w(217)], [0x4000, 0, 0, 1, 1]);
  assert.equal([w(222) >>> 12, w(255) & 0xff], [1, 0xa5]);
  assert.is(bytes.reduce((sum, byte) => sum + byte, 0) & 0xff, 0);
});

test('a board whose 28-bit commands take 16-bit counts; on others the low byte counts, 0 for 256', async () => {
  for (const profile of PROFILES) {
    const hba = await Hba.create({ profile });
    const sectors = profile === 'ahci-q35' ? 512 : 256;
    hba.disk.write(0, pattern(512 * 512, 4));
    for (const command of [ata.ATA_READ_SECTORS, ata.ATA_READ_DMA]) {
      hba.machine.memory.fill(DATA, 0, 512 * 512);
      assert.is(hba.execute({ command, count: 512 }, block(512 * 512)), GOOD);
      assert.is(hba.moved(), sectors * 512);
      assert.ok(hba.machine.memory.equals(DATA, pattern(512 * 512, 4), 0, sectors * 512));
      assert.is(hba.execute({ command, count: 0 }, block(512 * 512)), GOOD);
      assert.is(hba.moved(), 256 * 512);
    }
  }
});

test('the bits of PxIS after each kind of transfer on the board of public device tests, and PRDBC', async () => {
  const hba = await Hba.create({ profile: 'ahci-q35' });
  const { AHCI_IS_DHRS: register, AHCI_IS_PSS: setup } = regs;
  const cases: [number, number, number][] = [
    [ata.ATA_READ_SECTORS, 1, register | setup],
    [ata.ATA_READ_SECTORS_EXT, 16, register | setup],
    [ata.ATA_WRITE_SECTORS, 1, register],
    [ata.ATA_WRITE_SECTORS_EXT, 16, register | setup],
    [ata.ATA_READ_DMA, 16, register],
    [ata.ATA_WRITE_DMA_EXT, 16, register],
  ];
  for (const [command, count, status] of cases) {
    hba.clear();
    // The C bit in the header of an ordinary command means nothing.
    const header = regs.AHCI_HEADER_CLEAR_BUSY;
    const prds = Array.from({ length: count * 16 }, (_, i) => ({ address: DATA + 32 * i, bytes: 32 }));
    assert.is(
      hba.execute(
        { command, count, header },
        prds.map((prd) => ({ ...prd, interrupt: true })),
      ),
      GOOD,
    );
    assert.equal([hba.px(regs.AHCI_PX_IS), hba.moved()], [status, count * 512], `command ${command}`);
    assert.is(hba.px(regs.AHCI_PX_SERR), 0);
  }
});
