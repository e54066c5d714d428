// What stock software does, step by step: the public device tests' matrix of transfers, SeaBIOS from reset to reads,
// and the hard reset, interrupts and result frames of Linux's libahci.

import { ramMedium } from '../../src/media/index.ts';
import { assert, suite } from '../run/suite.ts';
import { ata, DATA, Hba, pattern, regs } from './hba.ts';

const test = suite('ahci: stock software');

const GOOD = ata.ATA_STATUS_GOOD;
const { ATA_STATUS_BSY: BSY, ATA_STATUS_DRQ: DRQ, ATA_STATUS_ERR: ERR } = ata;
const { AHCI_IS_DHRS: DHRS, AHCI_IS_PSS: PSS, AHCI_IS_SDBS: SDBS } = regs;
const LARGE = 200 * 2 ** 30;

interface Command {
  readonly command: number;
  readonly bytes: number;
  readonly sector?: number;
  readonly buffer?: number;
  readonly prdBytes?: number;
  readonly writes?: boolean;
  readonly pio?: boolean;
  readonly queued?: boolean;
}

/** The driver of the device tests: slots in turn, and everything looked at behind each command. */
class Tester {
  readonly hba: Hba;
  #slot = 0;

  constructor(hba: Hba) {
    this.hba = hba;
  }

  run({ command, bytes, sector = 0, buffer = DATA, prdBytes = 4096, ...kind }: Command): void {
    const { hba } = this;
    const { writes = false, pio = false, queued = false } = kind;
    const slot = this.#slot;
    this.#slot = (slot + 1) % 32;
    const count = bytes / 512;
    const prds = Array.from({ length: Math.ceil(bytes / prdBytes) }, (_, i) => ({
      address: buffer + i * prdBytes,
      bytes: Math.min(prdBytes, bytes - i * prdBytes),
      interrupt: true,
    }));
    const isShort = (
      [ata.ATA_READ_SECTORS, ata.ATA_WRITE_SECTORS, ata.ATA_READ_DMA, ata.ATA_WRITE_DMA] as number[]
    ).includes(command);
    const device = ata.ATA_DEVICE_LBA | (isShort ? Math.floor(sector / 2 ** 24) & 15 : 0);
    const header = regs.AHCI_HEADER_CLEAR_BUSY | (writes ? 1 << 6 : 0);
    const task = queued ? { feature: count, count: slot << 3 } : { count };
    hba.prepare(slot, { command, lba: sector, device, header, ...task }, prds);
    if (queued) hba.setPx(regs.AHCI_PX_SACT, 1 << slot);
    hba.setPx(regs.AHCI_PX_CI, 1 << slot);
    hba.machine.settle();
    assert.is(hba.px(regs.AHCI_PX_TFD) & (BSY | DRQ | ERR), 0);
    assert.equal([hba.px(regs.AHCI_PX_SACT), hba.px(regs.AHCI_PX_CI), hba.px(regs.AHCI_PX_SERR)], [0, 0, 0]);
    const expected = queued ? SDBS : DHRS | (pio && count > (writes ? 1 : 0) ? PSS : 0);
    assert.is(hba.px(regs.AHCI_PX_IS) & expected, expected);
    hba.setPx(regs.AHCI_PX_IS, expected);
    assert.is(hba.px(regs.AHCI_PX_IS), 0);
    if (queued) return;
    assert.is(hba.moved(slot), bytes);
    const frame = hba.frame(regs.AHCI_RFIS_REGISTER, 4);
    assert.is(frame[0], regs.FIS_REGISTER_D2H);
    assert.is(((frame[3] ?? 0) << 8) | (frame[2] ?? 0), hba.px(regs.AHCI_PX_TFD));
    if (!pio) return;
    const setup = hba.frame(regs.AHCI_RFIS_PIO_SETUP, 20);
    assert.equal([setup[0], (setup[16] ?? 0) | ((setup[17] ?? 0) << 8)], [regs.FIS_PIO_SETUP, 512]);
  }
}

async function tester(bytes?: number): Promise<Tester> {
  const medium = bytes === undefined ? {} : { medium: ramMedium(bytes) };
  const hba = await Hba.create({ profile: 'ahci-q35', ...medium });
  const t = new Tester(hba);
  t.run({ command: ata.ATA_IDENTIFY, bytes: 512, pio: true });
  return t;
}

const MATRIX = [
  ['PIO, 28 bits', ata.ATA_READ_SECTORS, ata.ATA_WRITE_SECTORS, true, 2 ** 28],
  ['PIO, 48 bits', ata.ATA_READ_SECTORS_EXT, ata.ATA_WRITE_SECTORS_EXT, true, LARGE / 512],
  ['DMA, 28 bits', ata.ATA_READ_DMA, ata.ATA_WRITE_DMA, false, 2 ** 28],
  ['DMA, 48 bits', ata.ATA_READ_DMA_EXT, ata.ATA_WRITE_DMA_EXT, false, LARGE / 512],
] as const;

for (const [name, read, write, pio, end] of MATRIX) {
  test(`device tests: ${name}: short to long, at the disk's beginning and at the end of addresses`, async () => {
    const t = await tester(LARGE);
    const { memory } = t.hba.machine;
    for (const bytes of [4096, 8192, 4096 * 64, 512]) {
      for (const sector of [0, 1, end - bytes / 512]) {
        const data = pattern(bytes, sector + bytes);
        memory.writeBytes(DATA, data);
        t.run({ command: write, bytes, sector, writes: true, pio });
        memory.fill(DATA, 0, bytes);
        t.run({ command: read, bytes, sector, pio });
        assert.ok(memory.equals(DATA, data));
      }
    }
  });
}

test('device tests: descriptors of 32 bytes, queued commands in every slot, flush, the last address', async () => {
  const t = await tester(LARGE);
  const { hba } = t;
  const { memory } = hba.machine;
  const data = pattern(4096, 1);
  memory.writeBytes(DATA, data);
  t.run({ command: ata.ATA_WRITE_DMA, bytes: 4096, prdBytes: 32, writes: true });
  memory.fill(DATA, 0, 4096);
  t.run({ command: ata.ATA_READ_DMA, bytes: 4096, prdBytes: 32 });
  assert.ok(memory.equals(DATA, data));
  for (let round = 0; round < 40; round++) {
    memory.writeBytes(DATA, pattern(4096, round));
    t.run({ command: ata.ATA_WRITE_FPDMA_QUEUED, bytes: 4096, writes: true, queued: true });
    memory.fill(DATA, 0, 4096);
    t.run({ command: ata.ATA_READ_FPDMA_QUEUED, bytes: 4096, queued: true });
    assert.ok(memory.equals(DATA, pattern(4096, round)));
  }
  t.run({ command: ata.ATA_FLUSH_CACHE, bytes: 0 });
  t.run({ command: ata.ATA_READ_NATIVE_MAX_EXT, bytes: 0 });
  const f = hba.frame(regs.AHCI_RFIS_REGISTER, 12);
  const low = (f[4] ?? 0) + (f[5] ?? 0) * 2 ** 8 + (f[6] ?? 0) * 2 ** 16;
  assert.is(low + (f[8] ?? 0) * 2 ** 24 + (f[9] ?? 0) * 2 ** 32 + (f[10] ?? 0) * 2 ** 40, LARGE / 512 - 1);
});

test('device tests: a reset of the HBA while a write is under way; both are as they were asked for, or as before', async () => {
  const t = await tester();
  const { hba } = t;
  const { memory } = hba.machine;
  memory.writeBytes(DATA, pattern(4096, 1));
  memory.writeBytes(DATA + 4096, pattern(4096, 2));
  t.run({ command: ata.ATA_WRITE_DMA_EXT, bytes: 4096, writes: true });
  hba.prepare(7, { command: ata.ATA_WRITE_DMA_EXT, lba: 8, count: 8, header: 1 << 6 }, [
    { address: DATA + 4096, bytes: 4096 },
  ]);
  hba.setPx(regs.AHCI_PX_CI, 1 << 7);
  hba.write(regs.AHCI_GHC, hba.read(regs.AHCI_GHC) | regs.AHCI_GHC_HR);
  assert.is(hba.read(regs.AHCI_GHC) & regs.AHCI_GHC_HR, 0);
  hba.machine.settle();
  hba.start();
  const again = new Tester(hba);
  memory.fill(DATA, 0, 8192);
  again.run({ command: ata.ATA_READ_DMA_EXT, bytes: 4096 });
  again.run({ command: ata.ATA_READ_DMA_EXT, bytes: 4096, sector: 8, buffer: DATA + 4096 });
  assert.ok(memory.equals(DATA, pattern(4096, 1)));
  assert.ok(
    memory.equals(DATA + 4096, new Uint8Array(4096)),
    'a write that a reset caught is not carried out',
  );
});

// SeaBIOS.

const LIST = 0x30000;

/** One command in slot 0 from structures at `at`; 0, or −1 after the recovery that follows an error. */
function firmware(
  hba: Hba,
  at: number,
  command: number,
  buffer: number,
  bytes: number,
  fields: number[] = [],
): number {
  const { memory } = hba.machine;
  const table = at + 0x800;
  memory.fill(table, 0, 256);
  memory.writeBytes(table, Uint8Array.from([0x27, 0x80, command, ...fields]));
  memory.write4x32(table + 0x80, buffer, 0, 0, (bytes - 1) >>> 0);
  memory.write4x32(at, 0x10005, 0, table, 0);
  const pending = hba.px(regs.AHCI_PX_IS);
  if (pending !== 0) hba.setPx(regs.AHCI_PX_IS, pending);
  hba.setPx(regs.AHCI_PX_CI, 1);
  let status: number = BSY;
  for (let tries = 0; (status & BSY) !== 0; tries++) {
    assert.ok(tries < 100);
    hba.machine.advance(hba.machine.now() + 50_000);
    const is = hba.px(regs.AHCI_PX_IS);
    if (is === 0) continue;
    hba.setPx(regs.AHCI_PX_IS, is);
    if ((is & regs.AHCI_IS_TFES) !== 0) status = hba.px(regs.AHCI_PX_TFD) & 0xff;
    else if ((is & PSS) !== 0) status = memory.read8(at + 0x400 + regs.AHCI_RFIS_PIO_SETUP + 2);
    else if ((is & DHRS) !== 0) status = memory.read8(at + 0x400 + regs.AHCI_RFIS_REGISTER + 2);
  }
  if ((status & (BSY | ata.ATA_STATUS_DF | ERR)) === 0 && (status & 0x40) !== 0) return 0;
  hba.setPx(regs.AHCI_PX_CMD, hba.px(regs.AHCI_PX_CMD) & ~regs.AHCI_CMD_ST);
  assert.is(hba.px(regs.AHCI_PX_CMD) & regs.AHCI_CMD_CR, 0);
  hba.setPx(regs.AHCI_PX_SERR, hba.px(regs.AHCI_PX_SERR));
  hba.setPx(regs.AHCI_PX_IS, hba.px(regs.AHCI_PX_IS));
  assert.is(hba.px(regs.AHCI_PX_TFD) & (BSY | DRQ), 0);
  hba.setPx(regs.AHCI_PX_CMD, hba.px(regs.AHCI_PX_CMD) | regs.AHCI_CMD_ST);
  return -1;
}

for (const profile of ['ahci', 'ahci-q35', 'ahci-1slot', 'ahci-sb600']) {
  test(`SeaBIOS on ${profile}: reset, ports, identification, transfer mode, other structures, reads`, async () => {
    const hba = await Hba.create({ profile, cold: true });
    const { machine } = hba;
    hba.write(regs.AHCI_GHC, hba.read(regs.AHCI_GHC) | regs.AHCI_GHC_HR);
    assert.is(hba.read(regs.AHCI_GHC) & regs.AHCI_GHC_HR, 0);
    hba.write(regs.AHCI_GHC, regs.AHCI_GHC_AE);
    hba.setPx(regs.AHCI_PX_CLB, LIST);
    hba.setPx(regs.AHCI_PX_FB, LIST + 0x400);
    hba.setPx(regs.AHCI_PX_IE, 0);
    let command = hba.px(regs.AHCI_PX_CMD) | regs.AHCI_CMD_FRE;
    hba.setPx(regs.AHCI_PX_CMD, command);
    command = (command & ~(0xf << 28)) | regs.AHCI_CMD_SUD | regs.AHCI_CMD_POD | (1 << 28);
    hba.setPx(regs.AHCI_PX_CMD, command);
    // The link has 10 ms.
    for (let ms = 0; (hba.px(regs.AHCI_PX_SSTS) & 7) !== 3; ms++) {
      assert.ok(ms < 10);
      machine.advance(machine.now() + 1_000_000);
    }
    hba.setPx(regs.AHCI_PX_SERR, hba.px(regs.AHCI_PX_SERR));
    for (let ms = 0; (hba.px(regs.AHCI_PX_TFD) & (BSY | DRQ)) !== 0; ms++) {
      assert.ok(ms < 100);
      machine.advance(machine.now() + 1_000_000);
    }
    hba.setPx(regs.AHCI_PX_CMD, command | regs.AHCI_CMD_ST);
    assert.is(firmware(hba, LIST, ata.ATA_IDENTIFY_PACKET, DATA, 512), -1);
    assert.is(firmware(hba, LIST, ata.ATA_IDENTIFY, DATA, 512), 0);
    assert.is(machine.memory.read32(DATA + 200), 2048);
    // UDMA 6, with a descriptor of −1 bytes that nobody reads.
    const mode = [ata.ATA_FEATURE_TRANSFER_MODE, 0, 0, 0, 0, 0, 0, 0, 0, 0x46];
    assert.is(firmware(hba, LIST, ata.ATA_SET_FEATURES, 0, 0, mode), 0);
    // The port is stopped, gets its final structures and goes on.
    for (let tries = 0; ; tries++) {
      const running = hba.px(regs.AHCI_PX_CMD);
      if ((running & 0xc011) === 0) break;
      assert.ok(tries < 10);
      hba.setPx(regs.AHCI_PX_CMD, running & ~0x11);
    }
    hba.setPx(regs.AHCI_PX_IS, hba.px(regs.AHCI_PX_IS));
    hba.setPx(regs.AHCI_PX_CLB, LIST + 0x2000);
    hba.setPx(regs.AHCI_PX_FB, LIST + 0x2400);
    hba.setPx(regs.AHCI_PX_CMD, hba.px(regs.AHCI_PX_CMD) | 0x11);
    hba.disk.write(0, pattern(64 * 512, 5));
    const read = [1, 0, 0, 0, 0x40, 0, 0, 0, 0, 64];
    assert.is(firmware(hba, LIST + 0x2000, ata.ATA_READ_DMA, DATA, 64 * 512, read), 0);
    assert.ok(machine.memory.equals(DATA, pattern(64 * 512, 5)));
    const beyond = [1, 0, 0x08, 0, 0x40, 0, 0, 0, 0, 1];
    assert.is(firmware(hba, LIST + 0x2000, ata.ATA_READ_DMA, DATA, 512, beyond), -1);
    assert.is(firmware(hba, LIST + 0x2000, ata.ATA_READ_DMA, DATA, 64 * 512, read), 0);
  });

  test(`Linux on ${profile}: hard reset, IDENTIFY and its frame, queued I/O, an error and its log`, async () => {
    const hba = await Hba.create({ profile, cold: true });
    const { machine } = hba;
    machine.settle();
    hba.write(regs.AHCI_GHC, hba.read(regs.AHCI_GHC) | regs.AHCI_GHC_AE);
    hba.write(regs.AHCI_GHC, hba.read(regs.AHCI_GHC) | regs.AHCI_GHC_HR);
    assert.is(hba.read(regs.AHCI_GHC) & regs.AHCI_GHC_HR, 0);
    hba.write(regs.AHCI_GHC, hba.read(regs.AHCI_GHC) | regs.AHCI_GHC_AE);
    const cap = hba.read(regs.AHCI_CAP);
    hba.setPx(regs.AHCI_PX_SERR, hba.px(regs.AHCI_PX_SERR));
    hba.setPx(regs.AHCI_PX_IS, hba.px(regs.AHCI_PX_IS));
    hba.write(regs.AHCI_IS, 1);
    hba.write(regs.AHCI_GHC, hba.read(regs.AHCI_GHC) | regs.AHCI_GHC_IE);
    hba.startPort();
    // Frozen: no interrupts. Hard reset: what is in the frame area says busy until the device's own frame comes.
    hba.setPx(regs.AHCI_PX_CMD, hba.px(regs.AHCI_PX_CMD) & ~regs.AHCI_CMD_ST);
    hba.setPx(regs.AHCI_PX_IE, 0);
    machine.memory.fill(0x10800 + regs.AHCI_RFIS_REGISTER, 0x80, 20);
    const control = hba.px(regs.AHCI_PX_SCTL);
    hba.setPx(regs.AHCI_PX_SCTL, (control & 0xf0) | 0x301);
    machine.advance(machine.now() + 1_000_000);
    hba.setPx(regs.AHCI_PX_SCTL, (control & 0xf0) | 0x300);
    machine.advance(machine.now() + 200_000_000);
    assert.is(hba.px(regs.AHCI_PX_SSTS) & 0xf0f, 0x103);
    hba.setPx(regs.AHCI_PX_SERR, hba.px(regs.AHCI_PX_SERR));
    assert.is(hba.px(regs.AHCI_PX_TFD) & BSY, 0);
    assert.is(hba.px(regs.AHCI_PX_SIG), regs.AHCI_SIG_ATA);
    assert.is(hba.frame(regs.AHCI_RFIS_REGISTER, 3)[2], GOOD);
    hba.setPx(regs.AHCI_PX_CMD, hba.px(regs.AHCI_PX_CMD) | regs.AHCI_CMD_ST);
    hba.clear();
    hba.setPx(regs.AHCI_PX_IE, 0xffffffff);
    // PIO data-in: the result comes from the setup frame, whose last status is its byte 15.
    hba.execute({ command: ata.ATA_IDENTIFY, device: 0xa0 }, [{ address: DATA, bytes: 512 }]);
    assert.is(hba.read(regs.AHCI_IS), 1);
    assert.is(hba.px(regs.AHCI_PX_IS) & PSS, PSS);
    assert.is(hba.frame(regs.AHCI_RFIS_PIO_SETUP, 16)[15], GOOD);
    hba.clear();
    assert.is(hba.read(regs.AHCI_IS), 0);
    hba.disk.write(0, pattern(4096, 6));
    if ((cap & regs.AHCI_CAP_SNCQ) === 0) return;
    for (const tag of [0, 1, 30]) {
      const task = { command: ata.ATA_READ_FPDMA_QUEUED, feature: 8, count: tag << 3, device: 0x40 };
      hba.prepare(tag, task, [{ address: DATA + tag * 4096, bytes: 4096 }]);
      hba.setPx(regs.AHCI_PX_SACT, 1 << tag);
      hba.setPx(regs.AHCI_PX_CI, 1 << tag);
    }
    machine.settle();
    assert.is(hba.px(regs.AHCI_PX_SACT) | hba.px(regs.AHCI_PX_CI), 0);
    for (const tag of [0, 1, 30]) assert.ok(machine.memory.equals(DATA + tag * 4096, pattern(4096, 6)));
    hba.clear();
    machine.addFault({ disk: hba.disk, kind: 'error', first: 3, last: 3, times: 1 });
    hba.prepare(2, { command: ata.ATA_READ_FPDMA_QUEUED, feature: 8, count: 2 << 3 }, [
      { address: DATA, bytes: 4096 },
    ]);
    hba.issue(4, true);
    assert.is(hba.px(regs.AHCI_PX_IS) & regs.AHCI_IS_TFES, regs.AHCI_IS_TFES);
    assert.is(hba.px(regs.AHCI_PX_SACT), 4);
    hba.restart();
    const log = { command: ata.ATA_READ_LOG_EXT, lba: ata.ATA_LOG_QUEUE_ERROR, count: 1, device: 0xa0 };
    hba.execute(log, [{ address: DATA, bytes: 512 }]);
    const entry = machine.memory.readBytes(DATA, 512);
    assert.equal([entry[0], (entry[2] ?? 0) & ERR, entry[3], entry[4]], [2, ERR, ata.ATA_ERROR_UNC, 3]);
    assert.is(
      entry.reduce((sum, byte) => (sum + byte) & 0xff, 0),
      0,
    );
  });
}
