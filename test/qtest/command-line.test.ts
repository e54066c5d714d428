// The server's command line: what it takes, and how it refuses the rest by name.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEBUG_EVENTS, parseDebugRules } from '../../src/qtest/block/blkdebug.ts';
import { type CommandLine, harmlessOptions, readCommandLine } from '../../src/qtest/command-line.ts';
import { DEVICE_TYPES } from '../../src/qtest/device-types.ts';
import { parseOptions, toNumber, toSize } from '../../src/qtest/options.ts';
import { JsonStream, parseLoose } from '../../src/qtest/qmp/json-stream.ts';
import { commandNames } from '../../src/qtest/qmp/session.ts';
import { System } from '../../src/qtest/system.ts';
import { assert, root, suite } from '../run/suite.ts';
import { Images } from './images.ts';

const test = suite('qtest command line');
const images = new Images();
test.after(() => images.remove());

test('options are taken apart at commas, and two commas are one', () => {
  assert.equal(
    [...parseOptions('virtio-blk-pci,drive=a,,b,share-rw,nofoo,x=', 'driver')],
    [
      ['driver', 'virtio-blk-pci'],
      ['drive', 'a,b'],
      ['share-rw', 'on'],
      ['foo', 'off'],
      ['x', ''],
    ],
  );
  assert.is(toSize('2G', '-m'), 2 ** 31);
  assert.is(toSize('384', '-m', 'm'), 384 * 2 ** 20);
  assert.is(toNumber('0x10', 'x', 0, 16), 16);
});

test('what clients give is understood', () => {
  const line = readCommandLine([
    ...['-qtest', 'unix:/a', '-qtest-log', '/dev/null', '-chardev', 'socket,path=/b,id=char0'],
    ...[
      '-mon',
      'chardev=char0,mode=control',
      '-display',
      'none',
      '-machine',
      'pc-q35-7.2,accel=qtest',
      '-m',
      '2G',
    ],
    ...['-run-with', 'exit-with-parent=on'],
    ...['-global', 'ide-hd.serial=x.y=z', '--nodefaults', '-incoming', 'unix:/c', '-accel', 'qtest'],
  ]);
  assert.equal(line.qtest, { kind: 'unix', path: '/a', listen: false });
  assert.equal(line.monitors, [{ kind: 'unix', path: '/b', listen: false }]);
  assert.is(line.log, null);
  assert.is(line.machine, 'q35');
  assert.is(line.ramBytes, 2 ** 31);
  assert.is(line.defaults, false);
  assert.ok(line.endsWithParent);
  assert.equal(line.globals, [{ type: 'ide-hd', property: 'serial', value: 'x.y=z' }]);
});

/** What the message must say for arguments that cannot be. */
const REFUSED: readonly (readonly [args: readonly string[], message: RegExp])[] = [
  [['-frobnicate'], /no option -frobnicate/],
  [['-devise', 'x'], /-devise .*did you mean "device"/],
  [['disk.img'], /"disk.img" is no option/],
  [['-M'], /-M needs a value/],
  [['-M', 'isapc'], /no machine "isapc"; there are pc, q35 and none/],
  [['-M', 'pc,frob=1'], /no property "frob"/],
  [['-m', 'much'], /-m is "much"/],
  [['-m', '1K'], /at least 1 MiB/],
  [['-qtest', 'tcp:1'], /only unix:PATH and stdio/],
  [['-accel', 'kvm', '-accel', 'qtest'], /-accel kvm: there is no processor/],
  [['-machine', 'q35,accel=tcg'], /no "tcg" but qtest/],
  [['-mon', 'chardev=c,mode=control'], /no -chardev with id "c"/],
  [['-chardev', 'pty,id=c'], /no backend "pty"/],
  [['-qtest', 'stdio', '-qmp', 'stdio'], /only one/],
  [['-global', 'nonsense'], /TYPE.property=value/],
  [['-blockdev', '{'], /no JSON/],
  [['-run-with', 'chroot=/'], /no "chroot"; only exit-with-parent/],
];

for (const [args, message] of REFUSED) {
  test(`refused: ${args.join(' ')}`, () => {
    assert.throws(() => readCommandLine(args), message);
  });
}

/** The same for what is only seen when the machine is made. */
const IMPOSSIBLE: readonly (readonly [args: readonly string[], message: RegExp])[] = [
  [['-m', '8G'], /at most .*3584 MiB/],
  [['-device', 'frob'], /'frob' is not a valid device model name; there are ich9-ahci, ahci, .*scsi-cd/],
  [['-device', 'nvm'], /'nvm' is not a valid device model name \(did you mean "nvme"\?\)/],
  [['-device', 'nvme,seri=1'], /'nvme.seri' not found \(did you mean "serial"\?\)/],
  [['-drive', 'fil=x'], /-drive ide0-hd0: there is no option "fil" .*did you mean "file"/],
  [['-drive', 'if=none,id=d,fil=x'], /-drive d: there is no option "fil"/],
  [['-drive', 'if=ide,id=d'], /drive is empty: give it file=/],
  [['-device', 'nvme,frob=1'], /Property 'nvme.frob' not found/],
  [['-device', 'nvme,drive=d'], /'drive' can't find value 'd'; give it by -drive id=d/],
  [['-device', 'virtio-blk-pci'], /drive property not set/],
  [['-device', 'lsi53c895a,addr=20'], /addr is "20"/],
  [['-device', 'lsi53c895a,addr=1.1'], /slot 1 function 1 is in use/],
  [['-device', 'lsi53c895a,id=a', '-device', 'lsi53c810,id=a'], /Duplicate device ID 'a'/],
  [['-device', 'piix3-ide'], /ports of IDE are taken/],
  [['-device', 'scsi-cd'], /No 'SCSI' bus found/],
  [['-device', 'ide-cd,bus=ide.7'], /Bus 'ide.7' not found/],
  [['-device', 'lsi53c895a', '-device', 'ide-cd,bus=scsi.0'], /can't go on SCSI bus/],
  [['-device', 'ide-cd,bus=ide.0,unit=2'], /unit is "2"/],
  [['-device', 'ide-cd,bus=ide.0,unit=0', '-device', 'ide-cd,bus=ide.0,unit=0'], /unit 0 is in use/],
  [['-drive', 'if=floppy,file=x'], /if is "floppy"/],
  [['-drive', 'file=/no/such'], /'\/no\/such': No such file or directory/],
  [['-drive', 'id=d,if=none,file=nbd:x'], /no protocol "nbd"/],
  [['-drive', 'id=d,if=none,frob=1,file=null-co://'], /no option "frob"/],
  [['-drive', 'id=d,if=none,file=null-co://,format=vdi'], /no driver "vdi"/],
  [['-drive', 'id=d,if=none,file=null-co://', '-drive', 'id=d,if=none,file=null-co://'], /named 'd' already/],
  [['-drive', 'id=d,if=none,file=null-co://,werror=ignore'], /werror is "ignore"/],
  [
    ['-drive', 'if=ide,index=0,file=null-co://', '-drive', 'if=ide,index=0,file=null-co://'],
    /already|in use/,
  ],
  [['-drive', 'id=d,if=none,file=blkdebug:/no/such:null-co://'], /\/no\/such cannot be read/],
  [
    ['-global', 'nvme.frob=1', '-drive', 'id=d,if=none,file=null-co://', '-device', 'nvme,drive=d'],
    /nvme.frob/,
  ],
  [['-object', 'frob,id=x'], /invalid object type: frob/],
  [['-drive', 'id=d,if=none,file=null-co://', '-device', 'nvme,drive=d,serial=1,pmrdev=p'], /'p' not found/],
  [
    ['-drive', 'id=d,if=none,file=null-co://', '-device', 'nvme,drive=d,serial=1,cmb_size_mb=64'],
    /cmb_size_mb/,
  ],
];

async function make(args: readonly string[]): Promise<System> {
  return System.create(readCommandLine(args), {
    readText: () => {
      throw new Error('nothing is there');
    },
  });
}

for (const [args, message] of IMPOSSIBLE) {
  test(`impossible: ${args.join(' ')}`, async () => {
    let said = '';
    await make(['-M', 'pc', '-nodefaults', ...args]).catch((error: Error) => {
      said = error.message;
    });
    assert.match(said, message);
  });
}

test('a drive goes where its options say', async () => {
  const places = async (...drives: string[]): Promise<string[]> => {
    const system = await make([
      '-M',
      'pc',
      '-nodefaults',
      ...drives.flatMap((drive) => ['-drive', `file=null-co://,${drive}`]),
    ]);
    return system.tree.devices.flatMap(({ drive, at, bus }) =>
      drive === null ? [] : [`${drive.id} ${bus.name} ${at.join('.')}`],
    );
  };
  assert.equal(await places('if=ide', 'if=ide'), ['ide0-hd0 ide.0 0.0', 'ide0-hd1 ide.0 0.1']);
  assert.equal(await places('index=3', 'media=cdrom'), ['ide1-hd1 ide.1 1.1', 'ide0-cd0 ide.0 0.0']);
  assert.equal(await places('bus=1,unit=0,id=x', 'if=virtio'), ['x ide.1 1.0', 'virtio0 pci.0 0.0']);
});

test('a node stands on another, and images need no whole last sector', async () => {
  const file = await images.qcow2(2 ** 20);
  const system = await make([
    ...['-M', 'pc', '-nodefaults', '-blockdev', `driver=file,node-name=f,filename=${file}`],
    ...['-blockdev', 'driver=qcow2,node-name=x,file=f', '-device', 'ide-hd,drive=x'],
    ...['-drive', `file=${images.raw(1000)},format=raw,if=virtio`],
  ]);
  assert.equal(
    system.machine.disks.map(({ bytes }) => bytes),
    [2 ** 20, 1024],
  );
  system.close();
});

test('rules name their mistakes by file and line', () => {
  const rules = (text: string) => () => parseDebugRules(text, 'f');
  assert.throws(rules('event = "write_aio"\n'), /^f:1: .*neither/);
  assert.throws(rules('[frob]\n'), /f:1: there is no section "frob"/);
  assert.throws(
    rules('[inject-error]\nevent = "l1_update"\n'),
    /f:1: event is "l1_update", which never happens here/,
  );
  assert.throws(rules('[set-state]\nevent = "none"\n'), /new_state/);
  assert.throws(rules('[inject-error]\nevent = "none"\nfrob = "1"\n'), /no "frob"/);
  assert.ok(DEBUG_EVENTS.includes('flush_to_disk'));
});

test('rules strike by state, operation and sector, once where they say so', () => {
  const rule = (more: string): string => `[inject-error]\nevent = "write_aio"\nerrno = "28"\n${more}`;
  const once = parseDebugRules(
    `${rule('state = "2"\nonce = "on"\n')}[set-state]\nevent = "read_aio"\nstate = "1"\nnew_state = "2"\n`,
    'f',
  );
  once.event('write_aio');
  assert.is(once.strike('write', 0, 512), 0, 'the state is 1');
  once.event('read_aio');
  once.event('write_aio');
  assert.equal([once.strike('write', 0, 512), once.strike('write', 0, 512)], [28, 0]);
  const narrow = parseDebugRules(rule('sector = "8"\niotype = "write"\n'), 'f');
  narrow.event('write_aio');
  assert.equal(
    [narrow.strike('read', 4096, 512), narrow.strike('write', 0, 4096), narrow.strike('write', 4096, 512)],
    [0, 0, 28],
  );
});

test('objects are found in a stream however it is cut', () => {
  const text = '{"a": "}\\"{"}\n [1]{\'b\': {"c": 2}}';
  for (let cut = 0; cut <= text.length; cut++) {
    const stream = new JsonStream();
    const found = [...stream.push(text.slice(0, cut)), ...stream.push(text.slice(cut))];
    assert.equal(found.map(parseLoose), [{ a: '}"{' }, [1], { b: { c: 2 } }]);
  }
});

test('the program says what it can, its version, and what it cannot by name', () => {
  const run = (...args: string[]) =>
    spawnSync(join(root, 'bin/backplane-system-x86_64'), args, { encoding: 'utf8', timeout: 60_000 });
  const help = run('--help');
  assert.is(help.status, 0);
  assert.match(help.stdout, /^Example:\n/);
  for (const option of harmlessOptions()) assert.ok(help.stdout.includes(option), option);
  assert.match(run('-version').stdout, /^backplane-system-x86_64 \d/);
  const refused = run('-frob');
  assert.is(refused.status, 1);
  assert.is(refused.stderr, 'backplane-system-x86_64: there is no option -frob\n');
  assert.match(
    run('-qtest', 'unix:/no/such').stderr,
    /unix:\/no\/such: nobody listens there; .* write unix:\/no\/such,server=on/,
  );
  assert.match(
    run('-qtest', 'stdio', '-qtest-log', '/no/such/log').stderr,
    /-qtest-log .* cannot be written/,
  );
  const unused = run('-qtest', 'stdio', '-global', 'nvmi.serial=1', '-global', 'nvme.serial=1');
  assert.match(unused.stderr, /^.*: -global nvmi.serial changes nothing: there is no device nvmi\n$/);
  assert.is(unused.status, 0);
  assert.match(run('-M', 'pc').stderr, /nobody is connected/);
  const disk = images.raw(512, Buffer.from('no socket'));
  assert.match(run('-qtest', 'stdio', '-incoming', `unix:${disk}`).stderr, /address already in use/);
  assert.is(readFileSync(disk, 'latin1').slice(0, 9), 'no socket');
});

test('a session on standard input ends with it', () => {
  const { status, stdout } = spawnSync(
    join(root, 'bin/backplane-system-i386'),
    ['-M', 'q35', '-qtest', 'stdio'],
    { encoding: 'utf8', input: 'endianness\noutl 0xcf8 0x8000fa00\ninl 0xcfc\n', timeout: 60_000 },
  );
  assert.is(stdout, 'OK little\nOK\nOK 0x29228086\n');
  assert.is(status, 0);
});

test('every field of the command line has a value', () => {
  const line: CommandLine = readCommandLine([]);
  assert.is(line.machine, 'pc');
  assert.is(line.ramBytes, 128 * 2 ** 20);
});

test('docs/QTEST.md has the options, devices and commands that there are', () => {
  const text = readFileSync(join(root, 'docs/QTEST.md'), 'utf8');
  const listed = (marker: string): string[] => {
    const line =
      text
        .slice(text.indexOf(marker) + marker.length)
        .trimStart()
        .split('\n')[0] ?? '';
    return Array.from(line.matchAll(/`([^`]+)`/g), ([, name]) => name ?? '');
  };
  assert.equal(listed('<!-- harmless -->'), harmlessOptions());
  assert.equal(listed('<!-- commands -->'), commandNames());
  for (const { name } of DEVICE_TYPES) assert.ok(text.includes(`\`${name}\``), name);
  for (const event of DEBUG_EVENTS) assert.ok(text.includes(`\`${event}\``), event);
});
