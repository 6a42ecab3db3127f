# As Debian's environment-modules: login shells know `module`, others do not until they source this.
shell=$(/usr/bin/basename "$(/bin/ps -p $$ -ocomm=)")
if [ -f "/usr/share/modules/init/$shell" ]; then
    . "/usr/share/modules/init/$shell"
else
    . /usr/share/modules/init/sh
fi
