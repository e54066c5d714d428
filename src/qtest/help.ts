// What --help of the server prints.

import { harmlessOptions } from './command-line.ts';
import { DEVICE_TYPES } from './device-types.ts';

const WIDTH = 100;

export function serverHelp(name: string): string {
  return [
    'Example:',
    `  ${name} -M q35 -drive if=none,id=d0,file=disk.img,format=raw -device ide-hd,drive=d0 -qtest stdio`,
    '',
    `Usage: ${name} [options]`,
    '',
    'Speaks the protocol qtest and QMP in front of the controllers: device tests written for other emulators',
    'drive them unchanged.',
    '',
    'Options:',
    '  -M, -machine pc|q35|none     the machine around the devices (default: pc)',
    '  -m SIZE                      RAM, in MiB unless it has a unit (default: 128)',
    '  -device NAME[,PROPERTY=V]    adds a device; there are',
    ...wrap(DEVICE_TYPES.map((type) => type.name).join(', '), 31),
    '  -drive if=none|ide|virtio,id=ID,file=FILE,format=raw|qcow2,media=disk|cdrom,rerror=,werror=…',
    '                               FILE may be null-co:// and blkdebug:RULES:FILE, too',
    '  -blockdev driver=…,node-name=NAME…, -cdrom FILE, -hda … -hdd FILE, -snapshot',
    '  -global TYPE.PROPERTY=VALUE  for all devices of a type',
    '  -object memory-backend-ram,id=ID,size=SIZE and iothread,id=ID',
    '  -boot order=LETTERS,once=LETTERS,menu=on, -rtc base=utc|TIME, -uuid UUID',
    '                               what firmware finds in the clock and in fw_cfg',
    '  -qtest unix:PATH|stdio       where the protocol is spoken: the server connects',
    '  -qtest-log FILE              commands and answers',
    '  -chardev socket,id=ID,path=PATH with -mon chardev=ID,mode=control; -qmp unix:PATH|stdio',
    '  -incoming unix:PATH          takes over the state of another process that migrates there',
    '  -run-with exit-with-parent=on  ends with the process that started the server',
    '  -audio none                  marks clients of 8.0 on, whose query-machines has acpi',
    '  -S, -preconfig, -nodefaults, -no-fd-bootchk, -vga none, -net none, -monitor none, -version, -help',
    '',
    'Taken, and without a meaning here:',
    ...wrap(harmlessOptions().join(' '), 2),
    'Any other option is refused.',
    '',
  ].join('\n');
}

function wrap(text: string, indent: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && indent + line.length + 1 + word.length > WIDTH) {
      lines.push(' '.repeat(indent) + line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, ' '.repeat(indent) + line];
}
