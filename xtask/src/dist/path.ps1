# Adds the folder of this script to the user's PATH, or takes it out of it: path.ps1 add, path.ps1 remove.
param([Parameter(Mandatory = $true)][ValidateSet('add', 'remove')][string]$Action)
$ErrorActionPreference = 'Stop'
$key = [Microsoft.Win32.Registry]::CurrentUser.CreateSubKey('Environment')
# Not expanded, so that %USERPROFILE% and the like stay as they are.
$old = [string]$key.GetValue('Path', '', 'DoNotExpandEnvironmentNames')
$folders = @($old -split ';' | Where-Object { $_ -ne '' -and $_ -ne $PSScriptRoot })
if ($Action -eq 'add') { $folders += $PSScriptRoot }
$key.SetValue('Path', ($folders -join ';'), 'ExpandString')
