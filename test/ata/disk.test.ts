import { ramMedium } from '../../src/media/index.ts';
import { ata, DATA, Hba, pattern, regs, wordsOf } from '../ahci/hba.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('ata: disk');

const GOOD = ata.ATA_STATUS_GOOD;
const ERR = ata.ATA_STATUS_ERR;
const ABORTED = ata.ATA_ERROR_ABRT;

/** One command from reset to reset, so that errors don't meet. */
function errorOf(hba: Hba, tfd: number): number {
  hba.restart();
  return (tfd & ERR) === 0 ? 0 : tfd >>> 8;
}

const block = (bytes = 512) => [{ address: DATA, bytes }];

async function identify(hba: Hba): Promise<number[]> {
  assert.is(hba.execute({ command: ata.ATA_IDENTIFY }, block()), GOOD);
  return wordsOf(hba.machine.memory.readBytes(DATA, 512));
}

test('IDENTIFY says what the disk is, and its bytes add up to zero', async () => {
  const hba = await Hba.create();
  const words = await identify(hba);
  const bytes = hba.machine.memory.readBytes(DATA, 512);
  assert.is(bytes.reduce((sum, byte) => sum + byte, 0) & 0xff, 0);
  assert.is((words[255] ?? 0) & 0xff, 0xa5);
  assert.equal([words[60], words[61], words[100], words[101]], [2048, 0, 2048, 0]);
  assert.equal([words[1], words[3], words[6], words[54], words[55], words[56]], [2, 16, 63, 2, 16, 63]);
  assert.equal([words[75], (words[76] ?? 0) & 0x100, words[105], words[169]], [31, 0x100, 8, 1]);
  const text = (from: number, to: number): string =>
    words
      .slice(from, to)
      .map((word) => String.fromCharCode(word >> 8, word & 0xff))
      .join('');
  assert.is(text(10, 20), 'BP00000001          ');
  assert.is(text(27, 47), 'BACKPLANE ATA DISK'.padEnd(40));
});

test('a disk beyond 28 bits says 2^28 - 1 sectors there, and all of them where 48 bits go', async () => {
  const sectors = 2 ** 33 + 5;
  const medium = ramMedium(sectors * 512);
  const hba = await Hba.create({ medium });
  const words = await identify(hba);
  assert.equal(words.slice(60, 62), [0xffff, 0x0fff]);
  // CHS reaches 16,514,064 sectors, in any translation (ATA/ATAPI-7, 6.2.1).
  assert.equal([words[1], words[3], words[6]], [16383, 16, 63]);
  assert.equal([...words.slice(53, 57)], [7, 16383, 16, 63]);
  assert.is((words[57] ?? 0) + (words[58] ?? 0) * 65536, 16514064);
  assert.equal(words.slice(100, 104), [5, 0, 2, 0]);
  const bytes = pattern(512, 9);
  medium.writev((2 ** 28 - 2) * 512, [bytes]);
  // The address's highest four bits are in the device register (ATA8-ACS, 28-bit commands).
  const last = { command: ata.ATA_READ_DMA, lba: 0xfffffe, device: 0x4f, count: 1 };
  assert.is(hba.execute(last, block()), GOOD);
  assert.ok(hba.machine.memory.equals(DATA, bytes));
  medium.writev((sectors - 1) * 512, [bytes]);
  assert.is(hba.execute({ command: ata.ATA_READ_DMA_EXT, lba: sectors - 1, count: 1 }, block()), GOOD);
  assert.ok(hba.machine.memory.equals(DATA, bytes));
  const tfd = hba.execute({ command: ata.ATA_READ_DMA_EXT, lba: sectors, count: 1 }, block());
  assert.is(errorOf(hba, tfd), ata.ATA_ERROR_IDNF);
});

test('a disk with 4 KiB sectors says so and moves whole sectors', async () => {
  const hba = await Hba.create({ sectorBytes: 4096 });
  const words = await identify(hba);
  assert.equal([words[106], words[117], words[118], words[100]], [0x5000, 2048, 0, 256]);
  const bytes = pattern(8192, 1);
  hba.disk.write(3 * 4096, bytes);
  assert.is(hba.execute({ command: ata.ATA_READ_DMA_EXT, lba: 3, count: 2 }, block(8192)), GOOD);
  assert.ok(hba.machine.memory.equals(DATA, bytes));
});

test('without a queue in the HBA there is none in the disk', async () => {
  const hba = await Hba.create({ profile: 'ahci-1slot' });
  const words = await identify(hba);
  assert.equal([words[75], (words[76] ?? 0) & 0x100], [0, 0]);
  const tfd = hba.execute({ command: ata.ATA_READ_FPDMA_QUEUED, feature: 1 }, block());
  assert.is(errorOf(hba, tfd), ABORTED);
});

test('every read and write command reaches the medium (LBA28, LBA48, PIO, DMA, MULTIPLE)', async () => {
  const hba = await Hba.create();
  assert.is(hba.execute({ command: ata.ATA_SET_MULTIPLE, count: 4 }), GOOD);
  const pairs = [
    [ata.ATA_READ_SECTORS, ata.ATA_WRITE_SECTORS],
    [ata.ATA_READ_SECTORS_EXT, ata.ATA_WRITE_SECTORS_EXT],
    [ata.ATA_READ_MULTIPLE, ata.ATA_WRITE_MULTIPLE],
    [ata.ATA_READ_MULTIPLE_EXT, ata.ATA_WRITE_MULTIPLE_FUA_EXT],
    [ata.ATA_READ_DMA, ata.ATA_WRITE_DMA],
    [ata.ATA_READ_DMA_EXT, ata.ATA_WRITE_DMA_FUA_EXT],
  ] as const;
  for (const [i, [reads, writes]] of pairs.entries()) {
    const bytes = pattern(7 * 512, i);
    const task = { lba: 11 * i + 1, count: 7 };
    hba.machine.memory.writeBytes(DATA, bytes);
    assert.is(hba.execute({ ...task, command: writes }, block(7 * 512)), GOOD);
    assert.equal(hba.disk.read(task.lba * 512, 7 * 512), bytes);
    hba.machine.memory.fill(DATA, 0, 7 * 512);
    assert.is(hba.execute({ ...task, command: reads }, block(7 * 512)), GOOD);
    assert.ok(hba.machine.memory.equals(DATA, bytes));
    assert.is(hba.moved(), 7 * 512);
  }
  assert.is(hba.disk.counters.flushes, 2);
});

test('a count of 0 is 256 sectors, and 65,536 in 48-bit commands', async () => {
  const hba = await Hba.create({ diskBytes: 32 * 2 ** 20 });
  assert.is(hba.execute({ command: ata.ATA_READ_DMA, count: 0 }, block(256 * 512)), GOOD);
  assert.is(hba.moved(), 256 * 512);
  const prds = Array.from({ length: 8 }, () => ({ address: 0x400000, bytes: 4 * 2 ** 20 }));
  assert.is(hba.execute({ command: ata.ATA_READ_DMA_EXT, count: 0 }, prds), GOOD);
  assert.is(hba.moved(), 65536 * 512);
  hba.prepare(0, { command: ata.ATA_READ_FPDMA_QUEUED, feature: 0 }, prds);
  hba.issue(1, true);
  assert.is(hba.px(regs.AHCI_PX_SACT), 0);
});

test('CHS addresses follow INITIALIZE DEVICE PARAMETERS', async () => {
  const hba = await Hba.create();
  const bytes = pattern(512, 4);
  hba.disk.write((1 * 16 + 2) * 63 * 512 + 4 * 512, bytes);
  // Cylinder 1, head 2, sector 5.
  const chs = { command: ata.ATA_READ_SECTORS, count: 1, lba: 0x000105, device: 2 };
  assert.is(hba.execute(chs, block()), GOOD);
  assert.ok(hba.machine.memory.equals(DATA, bytes));
  assert.is(hba.execute({ command: ata.ATA_INITIALIZE_PARAMETERS, count: 10, device: 3 }), GOOD);
  hba.disk.write(((1 * 4 + 2) * 10 + 4) * 512, pattern(512, 5));
  assert.is(hba.execute(chs, block()), GOOD);
  assert.ok(hba.machine.memory.equals(DATA, pattern(512, 5)));
  for (const odd of [{ lba: 0x100 }, { lba: 0x10b }, { device: 4 }]) {
    assert.is(errorOf(hba, hba.execute({ ...chs, ...odd }, block())), ata.ATA_ERROR_IDNF);
  }
});

test('what lies behind the last sector is not found, and nothing is moved', async () => {
  const hba = await Hba.create();
  for (const command of [ata.ATA_READ_DMA_EXT, ata.ATA_WRITE_SECTORS, ata.ATA_READ_VERIFY]) {
    const tfd = hba.execute({ command, lba: 2047, count: 2 }, block(1024));
    assert.is(hba.moved(), 0);
    assert.is(errorOf(hba, tfd), ata.ATA_ERROR_IDNF);
    assert.is(hba.execute({ command, lba: 2047, count: 1 }, block()), GOOD);
  }
  const far = { command: ata.ATA_READ_DMA_EXT, lba: 2 ** 48 - 1, count: 1 };
  assert.is(errorOf(hba, hba.execute(far, block())), ata.ATA_ERROR_IDNF);
  assert.is(errorOf(hba, hba.execute({ command: ata.ATA_SEEK, lba: 5000 })), ata.ATA_ERROR_IDNF);
});

test('a medium error names its first sector; what came before is moved', async () => {
  for (const command of [ata.ATA_READ_DMA_EXT, ata.ATA_READ_SECTORS, ata.ATA_READ_MULTIPLE_EXT]) {
    const hba = await Hba.create();
    hba.execute({ command: ata.ATA_SET_MULTIPLE, count: 8 });
    hba.disk.write(0, pattern(8192, 8));
    hba.machine.addFault({ disk: hba.disk, kind: 'error', first: 5, last: 6 });
    const tfd = hba.execute({ command, lba: 2, count: 8 }, block(4096));
    assert.is(tfd >>> 8, ata.ATA_ERROR_UNC);
    assert.is(hba.machine.memory.equals(DATA, pattern(8192, 8), 1024, 3 * 512), true);
    const fis = hba.frame(regs.AHCI_RFIS_REGISTER, 20);
    assert.equal([fis[0], fis[4], fis[5], fis[6]], [regs.FIS_REGISTER_D2H, 5, 0, 0]);
  }
});

test('verify finds the error without data; a lost write is a device fault; a write-protected disk aborts', async () => {
  const hba = await Hba.create();
  const operations = ['verify', 'write'] as const;
  hba.machine.addFault({ disk: hba.disk, kind: 'error', operations, first: 9, last: 9 });
  const verify = { command: ata.ATA_READ_VERIFY_EXT, lba: 8, count: 4 };
  assert.is(errorOf(hba, hba.execute(verify)), ata.ATA_ERROR_UNC);
  const tfd = hba.execute({ command: ata.ATA_WRITE_DMA_EXT, lba: 8, count: 4 }, block(2048));
  assert.is(tfd & (ERR | ata.ATA_STATUS_DF), ERR | ata.ATA_STATUS_DF);
  const locked = await Hba.create({ readOnly: true });
  const write = { command: ata.ATA_WRITE_DMA_EXT, count: 1 };
  assert.is(errorOf(locked, locked.execute(write, block())), ABORTED);
  assert.is(locked.execute({ ...write, command: ata.ATA_READ_DMA_EXT }, block()), GOOD);
});

test('READ MULTIPLE is aborted until a block size is set, and 0 unsets it', async () => {
  const hba = await Hba.create();
  const read = { command: ata.ATA_READ_MULTIPLE, count: 1 };
  assert.is(errorOf(hba, hba.execute(read, block())), ABORTED);
  for (const bad of [3, 32]) {
    assert.is(errorOf(hba, hba.execute({ command: ata.ATA_SET_MULTIPLE, count: bad })), ABORTED);
  }
  assert.is(hba.execute({ command: ata.ATA_SET_MULTIPLE, count: 16 }), GOOD);
  assert.is((await identify(hba))[59], 0x110);
  assert.is(hba.execute(read, block()), GOOD);
  hba.execute({ command: ata.ATA_SET_MULTIPLE, count: 0 });
  assert.is(errorOf(hba, hba.execute(read, block())), ABORTED);
});

test('SET FEATURES: cache, look-ahead, transfer modes; what is not there aborts', async () => {
  const hba = await Hba.create();
  const set = (feature: number, count = 0): number =>
    errorOf(hba, hba.execute({ command: ata.ATA_SET_FEATURES, feature, count }));
  assert.is(set(ata.ATA_FEATURE_NO_WRITE_CACHE), 0);
  assert.is(((await identify(hba))[85] ?? 0) & 0x20, 0);
  const before = hba.disk.counters.flushes;
  hba.execute({ command: ata.ATA_WRITE_DMA_EXT, count: 1 }, block());
  assert.is(hba.disk.counters.flushes - before, 1);
  assert.is(set(ata.ATA_FEATURE_WRITE_CACHE), 0);
  assert.is(set(ata.ATA_FEATURE_TRANSFER_MODE, 0x45), 0);
  assert.is((await identify(hba))[88], 0x207f);
  assert.equal([set(ata.ATA_FEATURE_TRANSFER_MODE, 0x47), set(0x05), set(0x10)], [ABORTED, ABORTED, ABORTED]);
});

test('TRIM discards every range, and none if one is out of range', async () => {
  const hba = await Hba.create();
  const { memory } = hba.machine;
  const fill = (): void => hba.disk.write(0, new Uint8Array(2048 * 512).fill(0x77));
  const ranges = (list: readonly (readonly [number, number])[]): void => {
    memory.fill(DATA, 0, 1024);
    for (const [i, [lba, count]] of list.entries()) {
      memory.write32(DATA + 16 * i, lba);
      memory.write32(DATA + 16 * i + 4, count << 16);
    }
  };
  const trim = { command: ata.ATA_DATA_SET_MANAGEMENT, feature: ata.ATA_DSM_TRIM, count: 2 };
  fill();
  ranges([
    [10, 2],
    [500, 1],
    [2040, 8],
  ]);
  assert.is(hba.execute(trim, block(1024)), GOOD);
  const zero = (lba: number): boolean => hba.disk.read(lba * 512, 512).every((byte) => byte === 0);
  assert.equal([9, 10, 11, 12, 500, 501, 2039, 2040, 2047].map(zero), [
    false,
    true,
    true,
    false,
    true,
    false,
    false,
    true,
    true,
  ]);
  fill();
  ranges([
    [10, 2],
    [2040, 9],
  ]);
  assert.is(errorOf(hba, hba.execute(trim, block(1024))), ABORTED | ata.ATA_ERROR_IDNF);
  assert.is(zero(10), false);
  assert.is(errorOf(hba, hba.execute({ ...trim, count: 9 }, block(4608))), ABORTED);
  assert.is(errorOf(hba, hba.execute({ ...trim, feature: 0 }, block(1024))), ABORTED);
});

test('power modes are reported, and a sleeping disk answers nothing but a reset', async () => {
  const hba = await Hba.create();
  const mode = (): number => {
    hba.execute({ command: ata.ATA_CHECK_POWER });
    return hba.frame(regs.AHCI_RFIS_REGISTER, 20)[12] ?? -1;
  };
  assert.is(mode(), ata.ATA_POWER_ACTIVE);
  hba.execute({ command: ata.ATA_STANDBY_IMMEDIATE });
  assert.is(mode(), ata.ATA_POWER_STANDBY);
  hba.execute({ command: ata.ATA_IDLE });
  assert.is(mode(), ata.ATA_POWER_IDLE);
  hba.execute({ command: ata.ATA_READ_DMA_EXT, count: 1 }, block());
  assert.is(mode(), ata.ATA_POWER_ACTIVE);
  assert.is(hba.execute({ command: ata.ATA_SLEEP }), GOOD);
  const tfd = hba.execute({ command: ata.ATA_CHECK_POWER });
  assert.is(tfd & ata.ATA_STATUS_BSY, ata.ATA_STATUS_BSY);
  hba.comreset();
  assert.is(mode(), ata.ATA_POWER_ACTIVE);
});

test('SMART: data that claim no error log (7.52.6, and word 84), status with its key, off and on', async () => {
  const hba = await Hba.create();
  const key = ata.ATA_SMART_KEY * 256;
  const smart = (feature: number, lba = key): number =>
    errorOf(hba, hba.execute({ command: ata.ATA_SMART, feature, lba }, block()));
  assert.is(smart(ata.ATA_SMART_READ_DATA), 0);
  const page = hba.machine.memory.readBytes(DATA, 512);
  assert.is(page.reduce((sum, byte) => sum + byte, 0) & 0xff, 0);
  hba.execute({ command: ata.ATA_IDENTIFY }, block());
  const claimed = (wordsOf(hba.machine.memory.readBytes(DATA, 512))[84] ?? 1) & 1;
  assert.equal([page[370], claimed, smart(0xd5)], [0, 0, ABORTED]);
  assert.is(smart(ata.ATA_SMART_STATUS), 0);
  const fis = hba.frame(regs.AHCI_RFIS_REGISTER, 20);
  assert.equal([fis[5], fis[6]], [0x4f, 0xc2]);
  assert.is(smart(ata.ATA_SMART_STATUS, 0), ABORTED);
  assert.is(smart(ata.ATA_SMART_DISABLE), 0);
  assert.is(smart(ata.ATA_SMART_READ_DATA), ABORTED);
  assert.is(smart(ata.ATA_SMART_ENABLE), 0);
  assert.is(smart(ata.ATA_SMART_READ_DATA), 0);
});

test('the log directory names the queue error log; other logs and pages are not there', async () => {
  const hba = await Hba.create();
  for (const command of [ata.ATA_READ_LOG_EXT, ata.ATA_READ_LOG_DMA_EXT]) {
    assert.is(hba.execute({ command, lba: 0, count: 1 }, block()), GOOD);
    const words = wordsOf(hba.machine.memory.readBytes(DATA, 512));
    assert.equal([words[0], words[0x10], words[0x11]], [1, 1, 0]);
    assert.is(errorOf(hba, hba.execute({ command, lba: 0x21, count: 1 }, block())), ABORTED);
    assert.is(errorOf(hba, hba.execute({ command, lba: 0x110, count: 1 }, block())), ABORTED);
    assert.is(errorOf(hba, hba.execute({ command, lba: 0x10, count: 2 }, block(1024))), ABORTED);
  }
});

test('commands that a disk refuses', async () => {
  const hba = await Hba.create();
  const refused = [
    0x00,
    0x45,
    ata.ATA_SECURITY_ERASE_UNIT,
    0xf1,
    0xf2,
    0xf3,
    0xf5,
    0xf6,
    0xff,
    0x3f,
    0xcf,
    0xb1,
  ];
  for (const command of refused) {
    assert.is(errorOf(hba, hba.execute({ command, count: 1 }, block())), ABORTED, `command ${command}`);
  }
  for (const command of [ata.ATA_PACKET, ata.ATA_IDENTIFY_PACKET, ata.ATA_DEVICE_RESET]) {
    const tfd = hba.execute({ command, lba: 0x123456, count: 7 }, block());
    const fis = hba.frame(regs.AHCI_RFIS_REGISTER, 20);
    assert.equal([fis[4], fis[5], fis[6], fis[12]], [1, 0, 0, 1]);
    assert.is(errorOf(hba, tfd), ABORTED);
  }
});

test('the native maximum in 28 and 48 bits, diagnostics, recalibrate, flush', async () => {
  const hba = await Hba.create();
  for (const command of [ata.ATA_READ_NATIVE_MAX, ata.ATA_READ_NATIVE_MAX_EXT]) {
    assert.is(hba.execute({ command, device: ata.ATA_DEVICE_LBA }), GOOD);
    const fis = hba.frame(regs.AHCI_RFIS_REGISTER, 20);
    assert.equal([fis[4], fis[5], fis[6], (fis[7] ?? 0) & 15], [0xff, 7, 0, 0]);
  }
  assert.is(hba.execute({ command: ata.ATA_EXECUTE_DIAGNOSTIC }), GOOD | (ata.ATA_DIAGNOSTIC_PASSED << 8));
  assert.is(hba.execute({ command: ata.ATA_RECALIBRATE | 3 }), GOOD);
  assert.is(hba.execute({ command: ata.ATA_FLUSH_CACHE }), GOOD);
  assert.is(hba.execute({ command: ata.ATA_FLUSH_CACHE_EXT }), GOOD);
  assert.is(hba.disk.counters.flushes, 2);
});

test('without the LBA bit the native maximum is cylinder, head and sector by default (ATA/ATAPI-5 8.33)', async () => {
  for (const { sectors, cylinder, head, sector } of [
    { sectors: 131_072, cylinder: 129, head: 15, sector: 63 },
    { sectors: 500, cylinder: 0, head: 7, sector: 59 },
  ]) {
    const hba = await Hba.create({ diskBytes: sectors * 512 });
    hba.execute({ command: ata.ATA_INITIALIZE_PARAMETERS, count: 10, device: 3 });
    assert.is(hba.execute({ command: ata.ATA_READ_NATIVE_MAX, device: 0 }), GOOD);
    const fis = hba.frame(regs.AHCI_RFIS_REGISTER, 20);
    assert.equal(
      [fis[4], fis[5], fis[6], (fis[7] ?? 0) & 15],
      [sector, cylinder & 0xff, cylinder >> 8, head],
    );
  }
});

test('settings fall back with a COMRESET', async () => {
  const hba = await Hba.create();
  hba.execute({ command: ata.ATA_SET_MULTIPLE, count: 8 });
  hba.execute({ command: ata.ATA_SET_FEATURES, feature: ata.ATA_FEATURE_NO_LOOK_AHEAD });
  hba.comreset();
  const words = await identify(hba);
  assert.equal([words[59], (words[85] ?? 0) & 0x40], [0, 0x40]);
});
