// The optical drive, by every way that there is to it: SCSI through two host adapters, ATAPI by PIO and DMA.

import * as mmc from '../../assembly/scsi/mmc-regs.ts';
import * as scsi from '../../assembly/scsi/regs.ts';
import { ramMedium } from '../../src/media/index.ts';
import { pattern } from '../piix-ide/ide.ts';
import { assert, suite } from '../run/suite.ts';
import { type Answer, clearAttention, type Opener, VIRTUAL, WAYS, type Way } from './ways.ts';

const test = suite('optical drive');

const BLOCK = mmc.CD_DATA_BYTES;
const BLOCKS = 100;
const READY = [scsi.OP_TEST_UNIT_READY, 0, 0, 0, 0, 0];
const EJECT = [scsi.OP_START_STOP_UNIT, 0, 0, 0, mmc.LOAD_EJECT, 0];
const LOAD = [scsi.OP_START_STOP_UNIT, 0, 0, 0, mmc.LOAD_EJECT | mmc.LOAD_START, 0];

function be(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** (bytes - 1 - i)) % 256);
}
function get(bytes: Uint8Array, at: number, length: number): number {
  return bytes.subarray(at, at + length).reduce((sum, byte) => sum * 256 + byte, 0);
}
const read10 = (lba: number, count: number): number[] => [
  scsi.OP_READ_10,
  0,
  ...be(lba, 4),
  0,
  ...be(count, 2),
  0,
];
const read12 = (lba: number, count: number): number[] => [
  scsi.OP_READ_12,
  0,
  ...be(lba, 4),
  ...be(count, 4),
  0,
  0,
];
const readCd = (lba: number, count: number, fields: number, type = 0): number[] => [
  mmc.OP_READ_CD,
  type,
  ...be(lba, 4),
  ...be(count, 3),
  fields,
  0,
  0,
];
const toc = (format: number, room: number, msf = false, first = 0): number[] => [
  mmc.OP_READ_TOC,
  msf ? mmc.TOC_MSF : 0,
  format,
  0,
  0,
  0,
  first,
  ...be(room, 2),
  0,
];
const prevent = (how: number): number[] => [scsi.OP_PREVENT_ALLOW, 0, 0, 0, how, 0];
const event = (classes: number, room: number): number[] => [
  mmc.OP_GET_EVENT_STATUS,
  mmc.EVENT_POLLED,
  0,
  0,
  classes,
  0,
  0,
  ...be(room, 2),
  0,
];
const configuration = (want: number, first: number, room = 256): number[] => [
  mmc.OP_GET_CONFIGURATION,
  want,
  ...be(first, 2),
  0,
  0,
  0,
  ...be(room, 2),
  0,
];

/** A drive with a CD of BLOCKS blocks that software knows of. */
async function loaded(open: Opener): Promise<{ way: Way; content: Uint8Array }> {
  const way = await open({ bytes: BLOCKS * BLOCK });
  const content = pattern(BLOCKS * BLOCK, 1);
  way.drive.write(0, content);
  clearAttention(way);
  return { way, content };
}

function good(answer: Answer): Uint8Array {
  assert.equal([answer.key, answer.code], [0, 0]);
  return answer.data;
}
function bad(answer: Answer): readonly [number, number] {
  return [answer.key, answer.code];
}
const ILLEGAL_FIELD = [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_INVALID_CDB_FIELD];

for (const [name, open] of Object.entries(WAYS)) {
  test(`${name}: READ 10, READ 12 and READ CD bring the blocks`, async () => {
    const { way, content } = await loaded(open);
    const expected = content.subarray(7 * BLOCK, 10 * BLOCK);
    assert.equal(good(way.run(read10(7, 3), 3 * BLOCK)), expected);
    assert.equal(good(way.run(read12(7, 3), 3 * BLOCK)), expected);
    assert.equal(good(way.run(readCd(7, 3, mmc.CD_USER_DATA), 3 * BLOCK)), expected);
    assert.is(good(way.run(read10(7, 0))).length, 0);
    const beyond = [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_LBA_RANGE];
    assert.equal(bad(way.run(read10(BLOCKS, 1), BLOCK)), beyond);
    assert.equal(bad(way.run(read12(BLOCKS - 1, 2), 2 * BLOCK)), beyond);
    assert.equal(bad(way.run(readCd(BLOCKS, 1, mmc.CD_USER_DATA), BLOCK)), beyond);
  });

  test(`${name}: INQUIRY and READ CAPACITY say what it is`, async () => {
    const { way } = await loaded(open);
    const inquiry = good(way.run([scsi.OP_INQUIRY, 0, 0, 0, 96, 0], 96));
    assert.equal([...inquiry.subarray(0, 2)], [mmc.INQUIRY_OPTICAL, mmc.INQUIRY_REMOVABLE]);
    assert.is(String.fromCharCode(...inquiry.subarray(8, 32)), 'BACKPLNEVIRTUAL CD-ROM  ');
    const capacity = good(way.run([scsi.OP_READ_CAPACITY_10, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8));
    assert.equal([get(capacity, 0, 4), get(capacity, 4, 4)], [BLOCKS - 1, BLOCK]);
  });

  test(`${name}: an unknown command, and writing, are refused`, async () => {
    const { way } = await loaded(open);
    const refused = [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_INVALID_OPCODE];
    for (const op of [scsi.OP_WRITE_10, scsi.OP_SYNCHRONIZE_CACHE_10, 0xa4]) {
      assert.equal(bad(way.run([op, ...new Array<number>(11).fill(0)])), refused);
    }
  });

  test(`${name}: an empty drive says so, and where its tray is`, async () => {
    const way = await open({});
    clearAttention(way);
    assert.equal(bad(way.run(READY)), [scsi.KEY_NOT_READY, mmc.ASC_NO_MEDIUM_CLOSED]);
    good(way.run(EJECT));
    assert.equal(bad(way.run(read10(0, 1), BLOCK)), [scsi.KEY_NOT_READY, mmc.ASC_NO_MEDIUM_OPEN]);
    assert.equal(way.drive.tray, { open: true, locked: false, loaded: false });
    good(way.run(LOAD));
    assert.equal(bad(way.run(toc(0, 12), 12)), [scsi.KEY_NOT_READY, mmc.ASC_NO_MEDIUM_CLOSED]);
    good(way.run([scsi.OP_INQUIRY, 0, 0, 0, 36, 0], 36));
  });

  test(`${name}: a new medium is not ready once, then a unit attention, then there`, async () => {
    const { way } = await loaded(open);
    assert.ok(way.drive.eject());
    assert.equal(bad(way.run(READY)), [scsi.KEY_NOT_READY, mmc.ASC_NO_MEDIUM_OPEN]);
    way.drive.insert({ bytes: 3 * BLOCK });
    assert.equal(bad(way.run(READY)), [scsi.KEY_NOT_READY, mmc.ASC_BECOMING_READY]);
    assert.equal(bad(way.run(READY)), [scsi.KEY_UNIT_ATTENTION, mmc.ASC_MEDIUM_CHANGED]);
    good(way.run(READY));
    const capacity = good(way.run([scsi.OP_READ_CAPACITY_10, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8));
    assert.is(get(capacity, 0, 4), 2);
    assert.equal(good(way.run(read10(2, 1), BLOCK)), new Uint8Array(BLOCK));
  });

  test(`${name}: the sector's medium error, and the drive works on`, async () => {
    const { way, content } = await loaded(open);
    way.machine.addFault({ disk: way.drive, kind: 'error', first: 12, last: 12, times: 1 });
    assert.equal(bad(way.run(read10(10, 4), 4 * BLOCK)), [scsi.KEY_MEDIUM_ERROR, scsi.ASC_READ_ERROR]);
    assert.equal(good(way.run(read10(12, 1), BLOCK)), content.subarray(12 * BLOCK, 13 * BLOCK));
  });

  test(`${name}: MODE SENSE shows the pages, MODE SELECT takes what is`, async () => {
    const { way } = await loaded(open);
    const cdb = (op: number, page: number, size: number): number[] => [
      op,
      8,
      page,
      0,
      0,
      0,
      0,
      ...be(size, 2),
      0,
    ];
    const all = good(way.run(cdb(scsi.OP_MODE_SENSE_10, scsi.MODE_ALL, 256), 256));
    const list = all.subarray(0, get(all, 0, 2) + 2);
    const codes: number[] = [];
    for (let at = 8; at < list.length; at += 2 + (list[at + 1] ?? 0)) codes.push(list[at] ?? 0);
    const pages = [
      scsi.MODE_RECOVERY,
      mmc.MODE_CD_DEVICE,
      mmc.MODE_POWER,
      mmc.MODE_TIMEOUT,
      mmc.MODE_CAPABILITIES,
    ];
    assert.equal(codes, pages);
    const short = good(way.run([scsi.OP_MODE_SENSE_6, 8, mmc.MODE_CAPABILITIES, 0, 64, 0], 64));
    assert.equal([short[0], short[4], short[10]], [35, mmc.MODE_CAPABILITIES, 0x29]);
    assert.equal(bad(way.run(cdb(scsi.OP_MODE_SENSE_10, 0x3e, 64), 64)), ILLEGAL_FIELD);
    const saved = cdb(scsi.OP_MODE_SENSE_10, 0xc0 | scsi.MODE_RECOVERY, 64);
    assert.equal(bad(way.run(saved, 64)), [scsi.KEY_ILLEGAL_REQUEST, mmc.ASC_SAVING_NOT_SUPPORTED]);
    const select = (bytes: Uint8Array): number[] => [
      scsi.OP_MODE_SELECT_10,
      0x10,
      0,
      0,
      0,
      0,
      0,
      ...be(bytes.length, 2),
      0,
    ];
    const page = Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, ...list.subarray(8, 20)]);
    good(way.run(select(page), page));
    page[11] = 1;
    assert.equal(bad(way.run(select(page), page)), [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_INVALID_PARAMETER]);
  });
}

const SCSI = WAYS.aha1542 as Opener;
const ATAPI = WAYS['piix-ide by PIO'] as Opener;

test('READ TOC in its three formats, in blocks and in minutes', async () => {
  const { way } = await loaded(SCSI);
  const track = (number: number, address: number[]): number[] => [0, mmc.TRACK_DATA, number, 0, ...address];
  assert.equal(
    [...good(way.run(toc(0, 64), 20))],
    [0, 18, 1, 1, ...track(1, be(0, 4)), ...track(mmc.TRACK_LEAD_OUT, be(BLOCKS, 4))],
  );
  // 100 blocks and 2 seconds are 3 seconds and 25 frames.
  assert.equal(
    [...good(way.run(toc(0, 64, true), 20))],
    [0, 18, 1, 1, ...track(1, [0, 0, 2, 0]), ...track(mmc.TRACK_LEAD_OUT, [0, 0, 3, 25])],
  );
  const leadOut = [0, 10, 1, 1, ...track(mmc.TRACK_LEAD_OUT, be(BLOCKS, 4))];
  assert.equal([...good(way.run(toc(0, 64, false, mmc.TRACK_LEAD_OUT), 12))], leadOut);
  assert.equal(bad(way.run(toc(0, 64, false, 2), 64)), ILLEGAL_FIELD);
  assert.equal([...good(way.run(toc(1, 64), 12))], [0, 10, 1, 1, ...track(1, be(0, 4))]);
  const full = good(way.run(toc(2, 64), 48));
  assert.equal([get(full, 0, 2), full[2], full[3]], [46, 1, 1]);
  const points = [0, 1, 2, 3].map((i) => [...full.subarray(4 + 11 * i, 15 + 11 * i)]);
  assert.equal(
    points.map((point) => point[3]),
    [0xa0, 0xa1, 0xa2, 1],
  );
  assert.equal(
    points.map((point) => point.slice(8)),
    [
      [1, 0, 0],
      [1, 0, 0],
      [0, 3, 25],
      [0, 2, 0],
    ],
  );
  // The format of older software, in byte 9.
  assert.equal(
    [...good(way.run([...toc(0, 64).slice(0, 9), 0x40], 12))],
    [0, 10, 1, 1, ...track(1, be(0, 4))],
  );
  assert.equal(bad(way.run(toc(5, 64), 64)), ILLEGAL_FIELD);
  assert.is(good(way.run(toc(0, 4), 4)).length, 4);
});

test('READ CD makes whole blocks of mode 1 whose codes are right', async () => {
  const { way, content } = await loaded(SCSI);
  const blocks = good(way.run(readCd(5, 2, 0xf8), 2 * mmc.CD_RAW_BYTES));
  for (let i = 0; i < 2; i++) {
    const block = blocks.subarray(i * mmc.CD_RAW_BYTES, (i + 1) * mmc.CD_RAW_BYTES);
    assert.equal([...block.subarray(0, 12)], [0, ...new Array<number>(10).fill(0xff), 0]);
    // Block 5 and two seconds: 00:02:05, in decimal digits.
    assert.equal([...block.subarray(12, 16)], [0, 2, 5 + i, 1]);
    assert.equal(block.subarray(16, 16 + BLOCK), content.subarray((5 + i) * BLOCK, (6 + i) * BLOCK));
    // Whoever divides a block with its check sum by the polynomial has no remainder.
    assert.is(crc(block.subarray(0, 2068)), 0);
    assert.ok(codeWords(block).every((word) => syndromes(word).every((sum) => sum === 0)));
  }
  assert.equal(good(way.run(readCd(5, 1, 0x20), 4)), blocks.subarray(12, 16));
  assert.equal(good(way.run(readCd(5, 1, 0x18), 2336)), blocks.subarray(16, 2352));
  assert.is(good(way.run(readCd(5, 1, 0))).length, 0);
  for (const fields of [0x08, 0x90, 0x88, 0xc0, 0x14]) {
    assert.equal(bad(way.run(readCd(5, 1, fields), 4096)), ILLEGAL_FIELD);
  }
  const wrong = [scsi.KEY_ILLEGAL_REQUEST, mmc.ASC_WRONG_TRACK_MODE];
  // CD audio, mode 2.
  for (const type of [0x04, 0x0c]) assert.equal(bad(way.run(readCd(5, 1, 0x10, type), BLOCK)), wrong);
  assert.equal(bad(way.run(readCd(0, mmc.CD_RAW_BLOCKS + 1, 0xf8), 16)), ILLEGAL_FIELD);
  const most = mmc.CD_RAW_BLOCKS;
  assert.is(good(way.run(readCd(0, most, 0xf8), most * mmc.CD_RAW_BYTES)).length, most * mmc.CD_RAW_BYTES);
});

/** Remainder of x^32 + x^31 + x^16 + x^15 + x^4 + x^3 + x + 1, the lowest bit first. */
function crc(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ ((sum & 1) !== 0 ? 0xd8018001 : 0);
  }
  return sum >>> 0;
}

/** The words of both error correction codes (ECMA-130, annex A), by the rows of 16-bit words that it describes. */
function codeWords(block: Uint8Array): number[][] {
  const byte = (word: number, half: number): number => block[12 + 2 * word + half] ?? 0;
  const words: number[][] = [];
  for (const half of [0, 1]) {
    for (let column = 0; column < 43; column++) {
      words.push(Array.from({ length: 26 }, (_, row) => byte(column + 43 * row, half)));
    }
    for (let diagonal = 0; diagonal < 26; diagonal++) {
      const data = Array.from({ length: 43 }, (_, i) => byte((44 * i + 43 * diagonal) % 1118, half));
      words.push([...data, byte(1118 + diagonal, half), byte(1118 + 26 + diagonal, half)]);
    }
  }
  return words;
}

function syndromes(word: readonly number[]): [number, number] {
  const twice = (value: number): number => (value << 1) ^ ((value & 0x80) !== 0 ? 0x11d : 0);
  return [word.reduce((sum, byte) => sum ^ byte, 0), word.reduce((sum, byte) => twice(sum) ^ byte, 0)];
}

test('READ CD MSF names blocks by minutes, seconds and frames', async () => {
  const { way, content } = await loaded(SCSI);
  const cdb = (from: number[], to: number[]): number[] => [
    mmc.OP_READ_CD_MSF,
    0,
    0,
    ...from,
    ...to,
    0x10,
    0,
    0,
  ];
  const answer = way.run(cdb([0, 2, 10], [0, 2, 12]), 2 * BLOCK);
  assert.equal(good(answer), content.subarray(10 * BLOCK, 12 * BLOCK));
  assert.equal(bad(way.run(cdb([0, 2, 12], [0, 2, 10]), BLOCK)), ILLEGAL_FIELD);
  assert.equal(bad(way.run(cdb([0, 1, 0], [0, 1, 0]), BLOCK)), [
    scsi.KEY_ILLEGAL_REQUEST,
    scsi.ASC_LBA_RANGE,
  ]);
});

test('READ DISC and TRACK INFORMATION, MECHANISM STATUS', async () => {
  const { way } = await loaded(SCSI);
  const disc = good(way.run([mmc.OP_READ_DISC_INFORMATION, 0, 0, 0, 0, 0, 0, 0, 64, 0], 34));
  assert.equal([get(disc, 0, 2), disc[2], ...disc.subarray(3, 7)], [32, 0x0e, 1, 1, 1, 1]);
  const track = (kind: number, number: number): number[] => [
    mmc.OP_READ_TRACK_INFORMATION,
    kind,
    ...be(number, 4),
    0,
    0,
    64,
    0,
  ];
  for (const cdb of [track(0, 99), track(1, 1), track(2, 1)]) {
    const bytes = good(way.run(cdb, 36));
    assert.equal(
      [get(bytes, 0, 2), bytes[2], bytes[3], bytes[5], get(bytes, 8, 4), get(bytes, 24, 4)],
      [34, 1, 1, 4, 0, BLOCKS],
    );
  }
  assert.equal(bad(way.run(track(0, BLOCKS), 36)), [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_LBA_RANGE]);
  assert.equal(bad(way.run(track(1, 2), 36)), ILLEGAL_FIELD);
  const mechanism = [mmc.OP_MECHANISM_STATUS, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0];
  assert.is(good(way.run(mechanism, 8))[1], 0);
  way.drive.openTray();
  assert.is(good(way.run(mechanism, 8))[1], 0x10);
});

test('GET CONFIGURATION lists features, and which of them the medium makes current', async () => {
  const { way } = await loaded(ATAPI);
  const features = (want: number, first: number): number[][] => {
    const all = good(way.run(configuration(want, first), 256));
    const found: number[][] = [];
    for (let at = 8; at < get(all, 0, 4) + 4; at += 4 + (all[at + 3] ?? 0)) {
      found.push([get(all, at, 2), (all[at + 2] ?? 0) & 1]);
    }
    return found;
  };
  const current = [
    0,
    1,
    2,
    3,
    mmc.FEATURE_RANDOM_READ,
    mmc.FEATURE_MULTI_READ,
    mmc.FEATURE_CD_READ,
    0x100,
    0x105,
  ];
  assert.equal(
    features(0, 0).map(([code]) => code),
    [...current.slice(0, 7), mmc.FEATURE_DVD_READ, 0x100, 0x105],
  );
  assert.equal(
    features(1, 0).map(([code]) => code),
    current,
  );
  assert.equal(features(2, mmc.FEATURE_CORE), [[mmc.FEATURE_CORE, 1]]);
  assert.equal(features(2, 0x40), []);
  const header = good(way.run(configuration(0, 0, 8), 8));
  assert.is(get(header, 6, 2), mmc.PROFILE_CD_ROM);
  // ATAPI is standard 2.
  assert.is(get(good(way.run(configuration(2, mmc.FEATURE_CORE), 16)), 12, 4), 2);
  way.drive.eject();
  assert.is(get(good(way.run(configuration(0, 0, 8), 8)), 6, 2), 0);
  assert.equal(bad(way.run(configuration(3, 0), 8)), ILLEGAL_FIELD);
});

test('a medium longer than a CD is a DVD: READ DVD STRUCTURE, and no whole blocks', async () => {
  const blocks = mmc.CD_BLOCKS + 1;
  const way = await SCSI({ medium: ramMedium(blocks * BLOCK) });
  clearAttention(way);
  const structure = (format: number, room: number): number[] => [
    mmc.OP_READ_DVD_STRUCTURE,
    0,
    0,
    0,
    0,
    0,
    0,
    format,
    ...be(room, 2),
    0,
    0,
  ];
  const physical = good(way.run(structure(mmc.DVD_PHYSICAL, 2052), 2052));
  assert.equal(
    [get(physical, 0, 2), get(physical, 8, 4), get(physical, 12, 4)],
    [2050, 0x30000, 0x30000 + blocks - 1],
  );
  assert.is(get(good(way.run(structure(mmc.DVD_COPYRIGHT, 8), 8)), 0, 2), 6);
  assert.is(good(way.run(structure(mmc.DVD_LIST, 64), 16)).length, 16);
  assert.equal(bad(way.run(structure(2, 64), 64)), ILLEGAL_FIELD);
  assert.is(get(good(way.run(configuration(0, 0, 8), 8)), 6, 2), mmc.PROFILE_DVD_ROM);
  assert.equal(bad(way.run(readCd(0, 1, 0xf8), 16)), [scsi.KEY_ILLEGAL_REQUEST, mmc.ASC_WRONG_TRACK_MODE]);
  const { way: cd } = await loaded(SCSI);
  const incompatible = [scsi.KEY_ILLEGAL_REQUEST, mmc.ASC_INCOMPATIBLE_MEDIUM];
  assert.equal(bad(cd.run(structure(mmc.DVD_PHYSICAL, 64), 64)), incompatible);
});

test('a locked tray stays closed for guest and host, and the guest is asked', async () => {
  const { way } = await loaded(SCSI);
  good(way.run(prevent(1)));
  assert.equal(bad(way.run(EJECT)), [scsi.KEY_ILLEGAL_REQUEST, mmc.ASC_REMOVAL_PREVENTED]);
  assert.not.ok(way.drive.eject());
  assert.equal(way.drive.tray, { open: false, locked: true, loaded: true });
  assert.equal([...good(way.run(event(mmc.EVENT_MEDIA_BIT, 8), 8))], [0, 6, 4, 0x10, 1, 2, 0, 0]);
  good(way.run(READY));
  assert.ok(way.drive.eject(true));
  assert.equal(way.drive.tray, { open: true, locked: true, loaded: false });
  good(way.run(LOAD));
  good(way.run(prevent(0)));
  assert.ok(way.drive.eject());
});

test('GET EVENT STATUS NOTIFICATION tells each media event once', async () => {
  const { way } = await loaded(SCSI);
  const media = (): number[] => [...good(way.run(event(mmc.EVENT_MEDIA_BIT, 8), 8))].slice(4, 6);
  assert.equal(media(), [0, 2]);
  way.drive.eject();
  assert.equal(media(), [3, 1]);
  assert.equal(media(), [0, 1]);
  way.drive.insert({ bytes: BLOCK });
  // A header alone tells nothing.
  assert.is(good(way.run(event(mmc.EVENT_MEDIA_BIT, 4), 4)).length, 4);
  assert.equal(media(), [2, 2]);
  // Linux's sr opens a drive with just that, and a medium that then were not ready would cost it a read.
  assert.equal(bad(way.run(READY)), [scsi.KEY_UNIT_ATTENTION, mmc.ASC_MEDIUM_CHANGED]);
  good(way.run(READY));
  assert.equal([...good(way.run(event(0x02, 8), 4))], [0, 2, 0x80, 0x10]);
  const queued = [mmc.OP_GET_EVENT_STATUS, 0, 0, 0, 0x10, 0, 0, 0, 8, 0];
  assert.equal(bad(way.run(queued, 8)), ILLEGAL_FIELD);
});

test('the guest ejects and loads: the medium stays in the tray, and the host hears of it', async () => {
  const { way, content } = await loaded(SCSI);
  way.machine.takeNotices();
  good(way.run(EJECT));
  assert.equal(bad(way.run(READY)), [scsi.KEY_NOT_READY, mmc.ASC_NO_MEDIUM_OPEN]);
  good(way.run(LOAD));
  assert.equal(bad(way.run(READY)), [scsi.KEY_UNIT_ATTENTION, mmc.ASC_MEDIUM_CHANGED]);
  good(way.run(READY));
  good(way.run(EJECT));
  // A load that does not wait finds the drive at work.
  good(way.run([scsi.OP_START_STOP_UNIT, mmc.LOAD_IMMEDIATE, 0, 0, 3, 0]));
  assert.equal(bad(way.run(READY)), [scsi.KEY_NOT_READY, mmc.ASC_BECOMING_READY]);
  assert.equal(bad(way.run(READY)), [scsi.KEY_UNIT_ATTENTION, mmc.ASC_MEDIUM_CHANGED]);
  assert.equal(good(way.run(read10(1, 1), BLOCK)), content.subarray(BLOCK, 2 * BLOCK));
  const trays = way.machine.takeNotices().map((notice) => (notice.kind === 'tray' ? notice.open : null));
  assert.equal(trays, [true, false, true, false]);
  assert.equal(way.machine.takeNotices(), []);
});

test('a virtual machine’s drive is silent about power on and its guest’s loads', async () => {
  const way = await VIRTUAL({ bytes: 4 * BLOCK });
  assert.is(good(way.run(read10(1, 1), BLOCK)).length, BLOCK);
  good(way.run(EJECT));
  good(way.run(LOAD));
  good(way.run(READY));
  way.drive.openTray();
  way.drive.remove();
  good(way.run(LOAD));
  good(way.run(EJECT));
  way.drive.load({ bytes: BLOCK });
  way.drive.closeTray();
  assert.equal(bad(way.run(READY)), [scsi.KEY_NOT_READY, mmc.ASC_NO_MEDIUM]);
  assert.equal(bad(way.run(READY)), [scsi.KEY_UNIT_ATTENTION, mmc.ASC_MEDIUM_CHANGED]);
  good(way.run(READY));
});
