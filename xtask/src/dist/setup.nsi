; The installer for Windows. It is for the user who starts it, and needs no administrator.
; Silently, and into another folder: riad-…-setup.exe /S /D=C:\tools\riad

Target amd64-unicode
Name "riad ${VERSION}"
OutFile "${TARGET}"
RequestExecutionLevel user
InstallDir "$LOCALAPPDATA\Programs\riad"
SetCompressor /SOLID lzma
; The same files give the same installer.
SetDateSave off

!include "LogicLib.nsh"
!include "WinMessages.nsh"
!define ENTRY "Software\Microsoft\Windows\CurrentVersion\Uninstall\riad"
!define POWERSHELL "$SYSDIR\WindowsPowerShell\v1.0\powershell.exe"

LicenseData "${STAGE}/LICENSE-MIT.txt"
Page license
Page directory
Page instfiles
UninstPage uninstConfirm
UninstPage instfiles

; PATH can be longer than this installer's texts, so that PowerShell edits it.
!macro Path Action
  nsExec::ExecToLog '"${POWERSHELL}" -NoProfile -ExecutionPolicy Bypass -File "$INSTDIR\path.ps1" ${Action}'
  Pop $0
  ${If} $0 != 0
    DetailPrint "PATH stays as it is: $INSTDIR was not put into it or taken out of it"
  ${Else}
    SendMessage ${HWND_BROADCAST} ${WM_SETTINGCHANGE} 0 "STR:Environment" /TIMEOUT=5000
  ${EndIf}
!macroend

Section
  SetOutPath "$INSTDIR"
  File "${STAGE}/*"
  WriteUninstaller "$INSTDIR\uninstall.exe"
  WriteRegStr HKCU "${ENTRY}" "DisplayName" "riad"
  WriteRegStr HKCU "${ENTRY}" "DisplayVersion" "${VERSION}"
  WriteRegStr HKCU "${ENTRY}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKCU "${ENTRY}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr HKCU "${ENTRY}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
  WriteRegDWORD HKCU "${ENTRY}" "NoModify" 1
  WriteRegDWORD HKCU "${ENTRY}" "NoRepair" 1
  !insertmacro Path add
SectionEnd

; Only what was installed: models and stores may lie beside it.
Section "Uninstall"
  !insertmacro Path remove
  Delete "$INSTDIR\riad.exe"
  Delete "$INSTDIR\riad-completions.ps1"
  Delete "$INSTDIR\path.ps1"
  Delete "$INSTDIR\README.txt"
  Delete "$INSTDIR\LICENSE-MIT.txt"
  Delete "$INSTDIR\LICENSE-APACHE.txt"
  Delete "$INSTDIR\LICENSES-OTHERS.txt"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR"
  DeleteRegKey HKCU "${ENTRY}"
SectionEnd
